"""Provide the HEAR 2021 interface (https://hearbenchmark.com/hear-api.html), one module per audio encoder.

hear-validator percepts.interop.hear.openl3_mel256_music

The modules are one line each; tests/interop/test_hear.py holds them against the registry.
"""
