"""Where records go and are found again: parquet, npz, jsonl; exact search and the LanceDB index."""
