"""Absent weights skip a test on a machine of yours and fail it in CI; one helper decides that for all tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from need_weights import need_weights

from percepts.errors import UnknownModel

TESTS = sorted(Path(__file__).parent.rglob("*.py"))


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        (None, pytest.skip.Exception),
        ("", pytest.skip.Exception),
        ("0", pytest.skip.Exception),
        ("1", pytest.fail.Exception),
    ],
)
@pytest.mark.parametrize("name", ["silero", "owner/name", "/no/such/folder"])
def test_absent_weights_skip_or_fail(
    name: str, required: str | None, expected: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [])  # the installed package may have the weights of silero
    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("PERCEPTS_OFFLINE", "1")
    monkeypatch.delenv("PERCEPTS_WEIGHTS", raising=False)
    monkeypatch.delenv("PERCEPTS_REQUIRE_WEIGHTS", raising=False)
    if required is not None:
        monkeypatch.setenv("PERCEPTS_REQUIRE_WEIGHTS", required)
    with pytest.raises(expected, match=name):
        need_weights(name)


def test_a_wrong_name_is_an_error_and_no_skip() -> None:
    with pytest.raises(UnknownModel):
        need_weights("silera")


def test_no_test_skips_for_absent_weights_on_its_own() -> None:
    found = []
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ExceptHandler | ast.If):
                reason = node.test if isinstance(node, ast.If) else node.type
                for_weights = reason and re.search(r"WeightsError|is_present", ast.unparse(reason))
                if for_weights and any(re.search(r"\bskip\(", ast.unparse(line)) for line in node.body):
                    found.append(path.name)
    assert found == ["need_weights.py"], "call need_weights(), which fails where weights are required"
