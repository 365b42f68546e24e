"""Define the warning of OpenL3's functions."""


class OpenL3Warning(Warning):
    """Input that is probably a mistake: silence, black images, or audio shorter than a window."""
