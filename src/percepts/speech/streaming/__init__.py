"""Transcribe audio as it comes in."""
