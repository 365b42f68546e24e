"""Read and write a job directory: its manifest, ledger, tables and other formats."""
