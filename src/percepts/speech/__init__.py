"""Transcribe and align speech: engines, Whisper, CTC models, streaming."""
