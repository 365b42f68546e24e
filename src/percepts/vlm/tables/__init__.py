"""Answer questions about tables."""
