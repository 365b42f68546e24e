"""Run any task over any number of sources, so that a run that is killed can be continued.

`sources` expands the inputs, `workers` decodes them, `loop` batches and encodes, `storage` keeps the results, and
`verify` proves them. Workers import this package, so it imports nothing: start at `percepts.embed` and
`percepts.verify`.
"""
