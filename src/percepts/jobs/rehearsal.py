"""Run every model of a task on one made-up item before any source, since no source is to blame for what fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import EncodeError, MachineError, MediaError, PerceptsError, WeightsError
from ..support.machine import describe_machine_fault, is_out_of_memory
from ..tasks.base import Task
from ..weights import damage, state
from .batching import invalid_reason


def rehearse(task: Task) -> None:
    """Load the models of a task and run each on one made-up item; do nothing if the task offers no rehearsals.

    Raises:
        WeightsError: a model cannot be loaded or run; the message says which, of which files, and what to do.
        MachineError: this machine has no room for it, in memory or on the disk.
        PerceptsError: the task refuses its own settings, such as a prompt that is too long.
    """
    for model, run in task.rehearsals().items():
        try:
            for fields in run():
                if why := invalid_reason(**fields):
                    raise EncodeError(f"it gave {why} for a made-up item")
        except Exception as error:
            # Name the damaged file beside what the library says of it.
            if isinstance(error, WeightsError) and any(map(damage, _weight_names(task, model))):
                raise model_fault(task, model, str(error)) from error
            # These two can only be about the made-up item, which is known to be good.
            if isinstance(error, PerceptsError) and not isinstance(error, EncodeError | MediaError):
                raise
            raise _classify_fault(task, model, error) from error


@contextmanager
def keep_stdout_clean() -> Iterator[None]:
    """Send to stderr what is printed inside, also by C libraries, since the job's answer goes to stdout."""
    try:
        # Or text that was printed before would come out on stderr.
        sys.stdout.flush()
        before = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError, AttributeError):  # a process without these streams prints nothing
        yield
        return
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def _classify_fault(task: Task, model: str, error: Exception) -> PerceptsError:
    """Return the error as a MachineError or as the fault of the model."""
    if why := describe_machine_fault(error):
        return MachineError(f"{model} cannot be loaded: {why}")
    said = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
    if is_out_of_memory(error):
        return MachineError(
            f"{model} does not fit into the memory that is free here ({said}); use a smaller model, or a machine or "
            "container with more memory"
        )
    return model_fault(task, model, said)


def model_fault(task: Task, model: str, said: str) -> WeightsError:
    """Return the error of a model that cannot be run, with its files and what is wrong with them."""
    names = _weight_names(task, model)
    found = f" Its weights: {'; '.join(map(state, names))}." if names else ""
    # Weights with an absolute path are a folder of the user, which percepts cannot download again.
    local = all(os.path.isabs(name) for name in names)
    cure = (
        "Copy that folder again from where it came" if local else f"Fetch it again (`percepts models --fetch {model}`)"
    )
    return WeightsError(
        f"{model} cannot be run: {said}.{found} No file was marked for this. "
        f"{cure if names else 'Mend the model'}, then start the same command again"
    )


def _weight_names(task: Task, model: str) -> list[str]:
    """Return the names of the weights of a model, from its spec or from the settings of the task."""
    if names := [name for spec in task.specs if spec.name == model for name in spec.weights]:
        return names
    stored = task.settings().get("models", {}).get(model, {})
    weights = stored.get("weights") if isinstance(stored, dict) else None
    return list(weights) if isinstance(weights, dict) else []
