"""The one warning of OpenL3's functions."""


class OpenL3Warning(Warning):
    """Input that is likely not what was meant: silence, black, shorter than a window."""
