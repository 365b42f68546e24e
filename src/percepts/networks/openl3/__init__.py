"""The OpenL3 networks as one plan, built for each runtime."""
