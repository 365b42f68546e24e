"""What several tests of the stores begin with."""

from pathlib import Path

import pytest
from toyjob import ToyJob


@pytest.fixture
def job(tmp_path: Path) -> ToyJob:
    return ToyJob(tmp_path / "job")
