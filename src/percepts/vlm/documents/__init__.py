"""Answer questions about document pages."""
