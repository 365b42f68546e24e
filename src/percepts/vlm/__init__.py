"""Models that answer in text about images, pages, video and tables."""
