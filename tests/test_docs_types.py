"""Check that mypy in strict mode accepts every Python example of the README and of the docs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from test_docs import ROOT, read_examples

# The types under test are ours: torch and the like would be read for a minute, and their faults are not ours to mend.
CONFIG = """
[mypy]
strict = True
[mypy-percepts.*]
ignore_errors = True
[mypy-datasets.*,lancedb.*,pandas.*,pyarrow.*,scipy.*,sklearn.*,soundfile.*,torch.*,transformers.*]
follow_imports = skip
ignore_missing_imports = True
"""
UNTYPED: dict[str, str] = {}
"""Examples that cannot be typed, as page and number, and the reason of each."""
MISTAKE = 'import percepts\nnumber: int = percepts.load_encoder("conse")\n'


def check_types(folder: Path, examples: dict[str, str]) -> dict[str, list[str]]:
    """Run mypy once over examples and return the errors of each that has any."""
    modules = {re.sub(r"\W", "_", name): name for name in examples}
    assert len(modules) == len(examples)
    for module, name in modules.items():
        (folder / f"{module}.py").write_text(f"import percepts\n{examples[name]}", "utf-8")
    (folder / "mypy.ini").write_text(CONFIG, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "--cache-dir=cache", "--no-pretty", "."],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for module, line, error in re.findall(r"^(\w+)\.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE):
        found.setdefault(modules[module], []).append(f"{int(line) - 1}: {error}")  # the import above is no line of it
    assert (done.returncode == 1) == bool(found), done.stdout + done.stderr
    return found


def test_mypy_accepts_every_example(tmp_path: Path) -> None:
    examples = read_examples("python")
    assert examples
    found = check_types(tmp_path, {**examples, "mistake": MISTAKE})
    assert "Incompatible types in assignment" in str(found.pop("mistake", "")), "mypy sees no types of percepts"
    wrong = {name: errors for name, errors in found.items() if name not in UNTYPED}
    assert not wrong, "\n".join(f"{name}:{error}" for name, errors in wrong.items() for error in errors)
    assert set(UNTYPED) <= set(found), "mypy accepts examples that UNTYPED lists: take them out"
