"""Provide HEAR's functions for the encoder fake-audio."""

from .functions import make_module

load_model, get_timestamp_embeddings, get_scene_embeddings = make_module("fake-audio")
