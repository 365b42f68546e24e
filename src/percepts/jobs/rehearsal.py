"""Run every model of a task on one made-up item before any source: what fails there is no source's fault."""

from __future__ import annotations

import os

from ..errors import EncodeError, MachineError, MediaError, PerceptsError, WeightsError
from ..support.machine import describe_machine_fault, is_out_of_memory
from ..tasks.base import Task
from ..weights import damage, state
from .batching import invalid_reason


def rehearse(task: Task) -> None:
    """Load the models of a task and run one made-up item by each; nothing where the task does not say how.

    Raises:
        WeightsError: a model cannot be loaded or run; the message says which, of which files, and what to do.
        MachineError: this machine has no room for it, in memory or on the disk.
        PerceptsError: what the task itself says of its settings, such as a prompt that is too long.
    """
    for model, run in task.rehearsals().items():
        try:
            for fields in run():
                if why := invalid_reason(**fields):
                    raise EncodeError(f"it gave {why} for a made-up item")
        except Exception as error:
            if isinstance(error, WeightsError) and any(map(damage, _weights(task, model))):
                raise model_fault(task, model, str(error)) from error
            if isinstance(error, PerceptsError) and not isinstance(error, EncodeError | MediaError):
                raise
            raise _fault(task, model, error) from error


def _fault(task: Task, model: str, error: Exception) -> PerceptsError:
    """Return the error as what it is: the machine's or the model's."""
    if why := describe_machine_fault(error):
        return MachineError(f"{model} cannot be loaded: {why}")
    said = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
    if is_out_of_memory(error):
        return MachineError(
            f"{model} does not fit into the memory that is free here ({said}); take a smaller model, or a machine or "
            "container with more memory"
        )
    return model_fault(task, model, said)


def model_fault(task: Task, model: str, said: str) -> WeightsError:
    """Return the error of a model that cannot be run, with its files and what is wrong with them."""
    names = _weights(task, model)
    found = f" Its weights: {'; '.join(map(state, names))}." if names else ""
    local = all(os.path.isabs(name) for name in names)
    cure = (
        "Copy that folder again from where it came" if local else f"Fetch it again (`percepts models --fetch {model}`)"
    )
    return WeightsError(
        f"{model} cannot be run: {said}.{found} No file was marked for this. "
        f"{cure if names else 'Mend the model'}, then start the same command again"
    )


def _weights(task: Task, model: str) -> list[str]:
    """Return the names of the weights of a model, as its row or the settings of the task tell them."""
    if names := [name for spec in task.specs if spec.name == model for name in spec.weights]:
        return names
    told = task.settings().get("models", {}).get(model, {})
    weights = told.get("weights") if isinstance(told, dict) else None
    return list(weights) if isinstance(weights, dict) else []
