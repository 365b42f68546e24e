"""Small helpers that several rooms of the package share: files and folders."""
