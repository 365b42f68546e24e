"""Small exact tools to think with: attention masks, attention in less memory or time, scaling laws."""
