"""Worker processes of a job, on this machine and on Ray."""
