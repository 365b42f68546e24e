"""Many segments of one medium on one clock: who spoke when, subtitles, and how far two such accounts differ."""
