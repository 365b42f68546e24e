"""What tests share: the zoo of files, and real data that may not be there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from zoo import Zoo, make_zoo

from percepts.encoders import registry

# No test is timed: on a busy machine the first call of an example takes longer than Hypothesis's 200 ms.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


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


@pytest.fixture(scope="module", autouse=True)
def encoders_as_they_were() -> Iterator[None]:
    """What a file of tests registers is unknown to the next file, which may count the encoders that there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_registered", dict(registry._registered))
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Say how a process of xdist that died has ended: minus the signal, or its own exit code."""
    if error:
        print(f"\n{node.gateway.id} ended with {node.gateway._io.popen.wait(10)}")


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """SVT-AV1, as root, leaves the thread that encodes at SCHED_FIFO 99; threads that spin then starve all others."""
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
