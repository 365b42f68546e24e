"""Study attention and scaling with small exact tools: attention masks, cheaper attention, scaling laws."""
