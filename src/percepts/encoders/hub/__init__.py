"""Encoders whose weights are Hugging Face checkpoints, one file a family."""
