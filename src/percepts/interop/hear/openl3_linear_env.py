"""HEAR's functions for the encoder openl3-linear-env."""

from ._functions import module

load_model, get_timestamp_embeddings, get_scene_embeddings = module("openl3-linear-env")
