"""Torch modules and graphs of networks; none of them knows a clip."""
