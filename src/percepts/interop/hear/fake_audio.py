"""HEAR's functions for the encoder fake-audio."""

from ._functions import module

load_model, get_timestamp_embeddings, get_scene_embeddings = module("fake-audio")
