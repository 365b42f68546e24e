"""Any task over any number of sources, restartably: plan → workers → run → directory, and `verify` to prove it.

Workers import this package, so it imports nothing: the entrances are `percepts.embed` and `percepts.verify`.
"""
