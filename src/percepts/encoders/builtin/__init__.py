"""Encoders that need no Hugging Face checkpoint."""
