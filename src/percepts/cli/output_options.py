"""Define the option that lets a command replace files."""

from __future__ import annotations

from typing import Annotated

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files. An input is never replaced.")]
