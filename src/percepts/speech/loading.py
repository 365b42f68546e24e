"""Choose and load the engine for a model: its config.json names the family, a table names the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from ..encoders.hub.families import list_short_names
from ..encoders.resolve import ModelKind, explain_family, locate_checkpoint
from ..errors import MissingExtra, UnknownModel
from ..weights import checkpoint
from ..windows.speech import Detector
from .engines import Engine
from .options import TranscribeOptions
from .transcribe import check_engine, import_target
from .whisper.ctranslate2_detect import is_converted

SPHINX = "sphinx"


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine of the table: what it runs and what it needs.

    target   "module:Class", relative to this package
    takes    values of `model_type` in config.json; "ctranslate2" for a converted folder; or a model's own name
    extra    extra of percepts that it needs, "" for none
    package  package that it needs, "" for none
    check    "module:function" that takes a checkpoint, options and a detector, and raises OptionsError for what the
             engine does not support, without loading weights; "": the engine is loaded to check
    """

    target: str
    takes: tuple[str, ...]
    extra: str = ""
    package: str = ""
    check: str = ""


# Both Whisper engines use it: it reads settings, not weights.
WHISPER_CHECK = ".whisper:check_checkpoint"
ENGINES: dict[str, EngineRow] = {
    "transformers": EngineRow(".whisper.torch_engine:TorchWhisper", ("whisper",), check=WHISPER_CHECK),
    "ctranslate2": EngineRow(
        ".whisper.ctranslate2_engine:CT2Whisper", ("ctranslate2", "whisper"), "ct2", "ctranslate2", check=WHISPER_CHECK
    ),
    "ctc": EngineRow(".ctc.wav2vec2:Wav2Vec2CTC", ("wav2vec2", "hubert", "wavlm")),
    SPHINX: EngineRow(".sphinx:Sphinx", (SPHINX,), "sphinx", "pocketsphinx"),
    "fake": EngineRow(".fake:FakeCTC", ("fake-ctc",)),
}
"""Where several engines run a model, the first is the default. A new engine is a new row."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """A model and the engine that runs it: the name in results, the engine of ENGINES, and where the weights are.

    weights  a checkpoint as `percepts.weights.checkpoint` names them; "" for a model with its weights in its package
    """

    name: str
    engine: str
    weights: str = ""

    def load(self) -> Engine:
        """Load the engine; raises WeightsError where its weights cannot be used."""
        make = import_target(ENGINES[self.engine].target)
        engine: Engine = make(self.weights) if self.weights else make()
        return engine

    def check(self, options: TranscribeOptions, detector: Detector | None) -> None:
        """Raise OptionsError for options that the model does not support, before a job begins."""
        if check := ENGINES[self.engine].check:
            import_target(check)(self.weights, options, detector)
        else:
            check_engine(self.load(), options, detector)

    def digest(self) -> str:
        """Return the sha256 of the weights, "" where they are no checkpoint."""
        return checkpoint.hash_checkpoint(self.weights) if self.weights else ""


def choose_engine(model: str, engine: str | None = None) -> EngineChoice:
    """Return which engine runs a model, without loading either.

    Args:
        model: a hub id, a checkpoint's folder, or "sphinx", which has its model inside.
        engine: a name of ENGINES; None: the first that runs the model.

    Raises:
        UnknownModel: no such model or engine, or no engine that runs this model.
        MissingExtra: the engine is not installed.
        WeightsError: a checkpoint that cannot be found or downloaded.
    """
    if engine is not None and engine not in ENGINES:
        raise UnknownModel(f"no engine called {engine!r}; there are: {', '.join(ENGINES)}")
    # A folder that has the name of an engine's own model is a checkpoint.
    built_in = {name for row in ENGINES.values() for name in row.takes}
    kind = ModelKind([*list_short_names(built_in), SPHINX], verb="transcribe", families=_list_supported())
    weights = "" if model in built_in and not Path(model).exists() else locate_checkpoint(model, kind)
    family = _read_family(checkpoint.local_path(weights)) if weights else model
    capable = [name for name, row in ENGINES.items() if family in row.takes]
    if not capable or (engine is not None and engine not in capable):
        verb = f"transcribe with {engine}" if engine else "transcribe"
        raise UnknownModel(explain_family(model, family, replace(kind, verb=verb), [f"expected {kind.families}"]))
    engine = engine or capable[0]
    check_installed(engine)
    return EngineChoice(weights or model, engine, weights)


def check_installed(engine: str) -> None:
    """Raise MissingExtra where the package of an engine of ENGINES is not installed."""
    row = ENGINES[engine]
    # find_spec finds the package without importing it.
    if row.package and find_spec(row.package) is None:
        raise MissingExtra(f"{engine} needs {row.package}: pip install 'percepts[{row.extra}]'")


def load_engine(model: str, engine: str | None = None) -> Engine:
    """Load the engine for a model; arguments and errors are those of `choose_engine`.

    >>> load_engine("fake-ctc").name
    'fake-ctc'
    """
    return choose_engine(model, engine).load()


def _read_family(folder: Path) -> str:
    """Return the `model_type` of a checkpoint's config.json, "ctranslate2" where it was converted."""
    # First, because the config.json of a converted folder has no model_type.
    if is_converted(folder):
        return "ctranslate2"
    return checkpoint.Checkpoint(folder).model_type


def _list_supported() -> str:
    """List the model types and their engines for a message."""
    # The fake engine is for tests and no advice to a user.
    return "; ".join(f"{' or '.join(row.takes)} ({name})" for name, row in ENGINES.items() if name != "fake")
