"""Provide HEAR's functions for the encoder openl3-mel256-music."""

from .functions import make_module

load_model, get_timestamp_embeddings, get_scene_embeddings = make_module("openl3-mel256-music")
