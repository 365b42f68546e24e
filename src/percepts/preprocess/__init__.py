"""Prepare clips as model inputs, in numpy alone: resampling, log-mel, filter banks, pixels. No weights, no torch."""
