"""Transcribe with CTC models and align text with their emissions."""
