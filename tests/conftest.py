"""What tests share: the zoo of files, and real data that may not be there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from zoo import Zoo, make_zoo


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return make_zoo(tmp_path_factory.mktemp("zoo") / "zoo")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Recordings and references that are not part of the project."""
    folder = Path(os.environ.get("PERCEPTS_SHARED") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set PERCEPTS_SHARED to the folder that has it")
    return folder


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command line, run in this process, sends the log to stderr; the next test finds it unsent."""
    logger = logging.getLogger("percepts")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before
