"""Define the error of OpenL3's functions."""

from ...errors import PerceptsError


class OpenL3Error(PerceptsError):
    """An argument or a file that OpenL3's functions cannot use."""
