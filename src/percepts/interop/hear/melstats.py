"""Provide HEAR's functions for the encoder melstats."""

from .functions import make_module

load_model, get_timestamp_embeddings, get_scene_embeddings = make_module("melstats")
