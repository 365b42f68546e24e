"""What a model heard or saw, to text that stays: hypotheses in, words out."""
