"""Start and supervise the workers of a job, on this machine and on Ray."""
