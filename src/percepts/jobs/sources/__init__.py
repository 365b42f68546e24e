"""Expand, walk and number the sources of a job."""
