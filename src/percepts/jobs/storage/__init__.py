"""The job directory: manifest, ledger, parts, exports."""
