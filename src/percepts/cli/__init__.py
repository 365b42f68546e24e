"""Define the command `percepts`: parse arguments, call a job or a task, and print its result.

Exit codes: 0 success; 1 the command failed, or a check found problems; 2 wrong usage; 3 the job finished and some
files failed; 130 interrupted. Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import typer

from ..errors import (
    LabelsError,
    MachineError,
    OptionsError,
    PerceptsError,
    QuestionError,
    SearchError,
    SettingsDiffer,
    UnknownModel,
)
from ..support.machine import is_out_of_memory
from . import (
    align,
    ask,
    caption,
    classify,
    demo,
    diarize,
    doctor,
    embed,
    eval,
    merge,
    models,
    openl3,
    search,
    similarity,
    stream,
    tokens,
    train,
    transcribe,
    verify,
    zero_shot,
)
from .errors import describe_error
from .media import with_max_seconds
from .memory import VARIABLE, with_memory_limit
from .output import escape_text

MISTYPED: tuple[type[Exception], ...] = (
    UnknownModel,
    QuestionError,
    OptionsError,
    LabelsError,
    SearchError,
    SettingsDiffer,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)
"""Errors that another command line avoids: exit code 2."""
NO_MEMORY = (
    f"close other programs, use a smaller model or file, or set another limit with {VARIABLE}, such as {VARIABLE}=16G"
)
"""What to do where memory runs out."""

# Plain help: the rich one costs 0.1 s more, and `--help` should answer at once.
app = typer.Typer(
    no_args_is_help=True,  # a bare `percepts` is a question
    add_completion=False,  # its two options would lead every --help
    pretty_exceptions_enable=False,  # rich's page of code tells a user nothing
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},  # click knows --help alone
)
COMMANDS = (
    embed.embed,
    classify.classify,
    zero_shot.zero_shot,
    similarity.similarity,
    caption.caption,
    ask.ask,
    search.search,
    transcribe.transcribe,
    stream.stream,
    stream.replay,
    diarize.diarize,
    align.align,
    models.models,
    tokens.tokens,
    verify.verify,
    merge.merge,
    doctor.doctor,
    demo.demo,
)
DECODING = {
    embed.embed,
    classify.classify,
    zero_shot.zero_shot,
    similarity.similarity,
    caption.caption,
    ask.ask,
    search.search,
    transcribe.transcribe,
    stream.replay,
    diarize.diarize,
    align.align,
    tokens.tokens,
}
"""Commands that decode media files, and so have the option `--max-seconds`."""
for command in COMMANDS:
    decodes = with_max_seconds(command) if command in DECODING else command
    # A stream decodes too, but has no end, so it gets the limit of memory and not that of seconds.
    app.command()(with_memory_limit(decodes) if command in DECODING or command is stream.stream else command)
app.add_typer(eval.app, name="eval")
app.add_typer(openl3.app, name="openl3")
app.add_typer(train.app, name="train")


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Turn images, audio and video into searchable vectors, labels, captions and transcripts with times.

    percepts embed photos/ talk.flac film.mp4 -o vectors/

    percepts search vectors/ "a cup of coffee"
    """
    if version:
        # Imported for this option alone: it reads the files of the installation.
        from importlib.metadata import version as installed

        typer.echo(f"percepts {installed('percepts')}")
        raise typer.Exit


class _Stderr(logging.Handler):
    """Print log lines to the current stderr, which a progress bar replaces while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one log line."""
        # A message may hold a file name with control characters.
        print(escape_text(record.getMessage()), file=sys.stderr)


def _log_to_stderr() -> None:
    logger = logging.getLogger("percepts")
    # `main` may be called more than once in a process, as tests do.
    if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
        logger.addHandler(_Stderr())
        logger.setLevel(logging.INFO)
        logger.propagate = False  # or a root logger of the calling program prints each line again


def _explain_error(error: Exception) -> int:
    """Print an error in one line and return its exit code."""
    # A variable and not an option, so that no command has to declare it.
    if os.environ.get("PERCEPTS_TRACEBACK") == "1":
        raise error
    typer.secho(f"percepts: {escape_text(describe_error(error))}", err=True, fg=typer.colors.RED)
    # 2 is what click exits with for wrong usage.
    return 2 if isinstance(error, MISTYPED) else 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Set PERCEPTS_TRACEBACK=1 to see where an error was raised.
    """
    for pipe in (sys.stdout, sys.stderr):
        # A file name may hold bytes that are not text: escape them rather than fail when the result is printed.
        pipe.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    _log_to_stderr()
    try:
        app(args=None if arguments is None else list(arguments), prog_name="percepts")
    except (PerceptsError, OSError) as error:
        sys.exit(_explain_error(error))
    # numpy, torch and CUDA each have an error of their own for it.
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        sys.exit(_explain_error(MachineError(f"memory ran out ({describe_error(error)}): {NO_MEMORY}")))
