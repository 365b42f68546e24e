"""Tell who speaks when: speaker embeddings, clustering, online and with pyannote."""
