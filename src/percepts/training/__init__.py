"""Fitting the small parts: adapters between an encoder and a language model, heads on vectors, classifiers of sound."""
