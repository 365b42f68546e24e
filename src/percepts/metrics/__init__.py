"""Error rates: diarization and words."""
