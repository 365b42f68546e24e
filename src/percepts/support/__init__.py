"""Small helpers that several folders of the package share."""
