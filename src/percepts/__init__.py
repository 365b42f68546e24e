"""Images, audio and video to what language models and search engines read."""
