"""Segments of one file on one clock: sort, merge and cut them, and read and write subtitles."""
