"""The command line with `test-slow` among the encoders, in small hands and parts."""

from __future__ import annotations

import faulty

from percepts.cli import main
from percepts.encoders import register_encoder
from percepts.jobs import loop
from percepts.jobs.workers import ray_pool

if __name__ == "__main__":
    register_encoder(faulty.spec("Slow"))
    ray_pool.BATCH_ITEMS, loop.ROWS_A_PART = 10, 20
    main()
