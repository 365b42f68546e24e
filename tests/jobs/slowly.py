"""The command line with `test-slow` among the encoders, in small hands and parts."""

from __future__ import annotations

import faulty

from percepts.cli import main
from percepts.encoders import register_encoder
from percepts.jobs import loop, ray

if __name__ == "__main__":
    register_encoder(faulty.spec("Slow"))
    ray.HAND, loop.ROWS_A_PART = 10, 20
    main()
