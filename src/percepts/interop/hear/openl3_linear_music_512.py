"""HEAR's functions for the encoder openl3-linear-music-512."""

from ._functions import module

load_model, get_timestamp_embeddings, get_scene_embeddings = module("openl3-linear-music-512")
