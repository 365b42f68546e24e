"""The public names: a stored snapshot of their signatures, and a place for each in the reference."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import make_public_api

import percepts

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))


def test_signatures_are_those_of_the_snapshot() -> None:
    stored = make_public_api.SNAPSHOT.read_text("utf-8").splitlines()
    now = make_public_api.describe_api().splitlines()
    gone, new = [line for line in stored if line not in now], [line for line in now if line not in stored]
    assert not gone and not new, (
        "the public names are not those of tests/public_api.txt. If that is meant: python tests/make_public_api.py\n"
        + "\n".join([*(f"- {line}" for line in gone), *(f"+ {line}" for line in new)])
    )


def documented() -> dict[str, Any]:
    """What the pages of the reference name, and the objects behind it."""
    found = {}
    for page in PAGES:
        for path in re.findall(r"^::: (\S+)", page.read_text("utf-8"), re.MULTILINE):
            found[path] = resolve(path)
    return found


def resolve(path: str) -> Any:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        home, _, name = path.rpartition(".")
        return getattr(importlib.import_module(home), name)


def test_every_public_name_is_in_the_reference() -> None:
    behind = documented().values()
    missing = [name for name in percepts.__all__ if not any(getattr(percepts, name) is value for value in behind)]
    assert not missing, f"add to docs/reference/: {', '.join(missing)}"


def test_the_table_of_the_reference_lists_every_public_name() -> None:
    listed = re.findall(r"`([\w.]+)`", (ROOT / "docs" / "reference.md").read_text("utf-8"))
    assert not set(percepts.__all__) - set(listed)


def test_no_page_of_the_reference_names_a_private_module() -> None:
    assert not [path for path in documented() if any(part.startswith("_") for part in path.split("."))]


def test_every_page_of_the_reference_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert not [page.name for page in PAGES if f"reference/{page.name}" not in menu]


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert percepts.__version__ == version("percepts")
