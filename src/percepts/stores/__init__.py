"""Write records, read them back and search them: parquet, npz, JSON lines, exact search, the LanceDB index."""
