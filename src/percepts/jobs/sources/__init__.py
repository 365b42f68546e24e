"""Expand the inputs of a job into single sources, and number those that have to be processed."""
