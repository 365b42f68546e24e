"""Train the small parts: heads on vectors, adapters between an encoder and a language model, classifiers of audio."""
