"""Look up encoders by name; knowing of an encoder imports nothing of it, only `load_encoder` does."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from itertools import product
from typing import Literal, overload

from ..errors import MissingExtra, UnknownModel
from ..types import Encoder, LabelEncoder, MediaTextEncoder, Spec

log = logging.getLogger(__name__)

GROUP = "percepts.encoders"
"""Entry points of this group name a Spec or an iterable of Specs."""


FRAMES_SUFFIX = "-frames"
"""How the name of an encoder ends whose vectors are all frames of a window, as training keeps them."""


def _list_openl3() -> Iterator[Spec]:
    """Yield OpenL3's twelve published networks, each with its large vectors and, as `-512`, with its small ones."""
    audio = Spec(name="", target=".builtin.openl3:OpenL3Audio", kind="audio", rate=48_000.0, window=1.0, dim=6144)
    image = Spec(name="", target=".builtin.openl3:OpenL3Image", kind="image", dim=8192, size=256)
    for medium, spectrum, content in product((audio, image), ("linear", "mel128", "mel256"), ("music", "env")):
        name = f"openl3-{'image-' if medium.kind == 'image' else ''}{spectrum}-{content}"
        large = replace(
            medium,
            name=name,
            pool="concat",
            weights=(name,),
            license="CC-BY-4.0",
            extra="openl3",
            summary=f"OpenL3 for {medium.kind}, trained on {content} videos with {spectrum} spectra",
        )
        yield large
        # openl3's 512 numbers are the maximum over the grid whose 6144 or 8192 are the large vector.
        yield replace(large, name=f"{name}-512", dim=512, pool="max")


_BUILTIN = (
    Spec(
        name="conse", target=".builtin.conse:Conse", kind="image", dim=384, pool="mean", size=256,
        # In this order: Conse takes the first, its MiniLM the last.
        weights=("effnet-lite0", "minilm"), license="Apache-2.0",
        summary="images in the text space of minilm: text finds images",
    ),
    Spec(
        name="effnet-lite0", target=".builtin.effnet:EffNet", kind="image", dim=1280, pool="mean", size=256,
        weights=("effnet-lite0",), license="Apache-2.0",
        summary="EfficientNet-Lite0, ImageNet-1k: image vectors and 1000 labels",
    ),
    Spec(
        name="minilm", target=".builtin.minilm:MiniLM", kind="text", dim=384, pool="l2mean", weights=("minilm",),
        license="Apache-2.0", summary="all-MiniLM-L6-v2: sentence vectors",
    ),
    Spec(
        # dim: 32 means and 32 deviations in each of 8 segments.
        name="melstats", target=".builtin.melstats:MelStats", kind="audio", rate=16_000.0, window=4.0, dim=512,
        pool="concat", license="Apache-2.0",
        summary="log-mel mean and deviation in 8 time segments of audio; no weights",
    ),
    Spec(
        name="ge2e", target=".builtin.ge2e:Ge2e", kind="audio", rate=16_000.0, window=1.6, dim=256, pool="l2mean",
        weights=("ge2e",), license="Apache-2.0", summary="Resemblyzer's d-vectors: who speaks",
    ),
    Spec(
        name="fake-image", target=".builtin.fake:FakeImage", kind="image", dim=8, pool="mean", size=16,
        license="Apache-2.0", summary="for tests: how near an image is to eight colours, which text can name",
    ),
    Spec(
        name="fake-audio", target=".builtin.fake:FakeAudio", kind="audio", rate=8000.0, window=1.0, dim=8,
        pool="mean", license="Apache-2.0", summary="for tests: loudness in eighths of a second",
    ),
    *_list_openl3(),
)  # fmt: skip
_BUILTIN_BY_NAME = {row.name: row for row in _BUILTIN}
_registered: dict[str, Spec] = {}


def list_models() -> tuple[str, ...]:
    """Return the names of all encoders: the built-in ones, those of installed packages, those registered here."""
    return tuple(_list_all())


def list_hub_models() -> tuple[str, ...]:
    """Return the short names of Hugging Face models; any other is known by its id or folder."""
    from .hub.catalog import CATALOG

    return tuple(CATALOG)


def list_families() -> tuple[str, ...]:
    """Return the values of `model_type` in config.json that can be encoded with."""
    from .hub.families import FAMILIES

    return tuple(sorted(FAMILIES))


def model_spec(name: str, *, pool: str = "", size: int = 0, window: float = 0.0, precision: str = "") -> Spec:
    """Return what is known of an encoder by its short name, Hugging Face id or folder, without loading its weights.

    A Hugging Face model can be used in another way than its own: with another `pool` of its features, images of another
    `size` in pixels or audio of another `window` in seconds (its positions are then interpolated or cut, as its authors
    do), at another `precision`. ValueError for an encoder that has no choice.

    Raises UnknownModel, which suggests similar names, or lists the families where a checkpoint is of none.

    >>> model_spec("conse").dim
    384
    """
    row = _find_spec(name)
    asked = {"pool": pool, "size": size, "window": window, "precision": precision}
    changes = {field: value for field, value in asked.items() if value and value != getattr(row, field)}
    if not changes:
        return row
    if not is_hub_spec(row):
        raise ValueError(f"{name} has no other {' or '.join(changes)} than its own; Hugging Face models have")
    return replace(row, **changes)  # type: ignore[arg-type]


def _find_spec(name: str) -> Spec:
    ours = {**_BUILTIN_BY_NAME, **_registered}
    if name in ours:
        return ours[name]  # without looking through what else is installed
    from .hub.catalog import CATALOG
    from .hub.families import find_target
    from .resolve import ModelKind, resolve_model

    specs = {**_list_all(), **CATALOG}
    return resolve_model(name, ModelKind(specs, "encoder"), find_target, specs)


@overload
def load_encoder(name: Literal["effnet-lite0"], *, runtime: str = ..., threads: int | None = ...) -> LabelEncoder: ...
@overload
def load_encoder(
    name: Literal["conse", "minilm", "fake-image"], *, runtime: str = ..., threads: int | None = ...
) -> MediaTextEncoder: ...
@overload
def load_encoder(name: str | Spec, *, runtime: str = ..., threads: int | None = ...) -> Encoder: ...
def load_encoder(name: str | Spec, *, runtime: str = "auto", threads: int | None = None) -> Encoder:
    """Return the encoder of a name, or of a Spec as it is. This is cheap: weights load at the first `encode`.

    A Spec may be one of ours with another pool, size, window or precision: `replace(model_spec(name), pool="mean")`.

    runtime  auto (measured once on this machine), onnx, openvino or torch, for encoders that have a network
    threads  rows encoded at a time; None for one per core. Changes no number

    Raises UnknownModel, and MissingExtra where what it needs is not installed.
    """
    row = name if isinstance(name, Spec) else model_spec(name)
    # A Spec of an older release may name a module that has moved since.
    from .moved import current_target

    module, _, attribute = current_target(row.target).partition(":")
    try:
        loaded = import_module(module, __package__)
    except ModuleNotFoundError as error:
        # Without an extra to install it is a fault in the encoder's own imports.
        if not row.extra:
            raise
        raise MissingExtra(f"{row.name} needs {error.name}: pip install 'percepts[{row.extra}]'") from error
    encoder: Encoder = getattr(loaded, attribute)(row, runtime=runtime, threads=threads)
    return encoder


def reload_encoder(row: Spec) -> Encoder:
    """Load the encoder of a Spec that any release stored; errors are those of `update_spec`."""
    return load_encoder(update_spec(row))


def update_spec(row: Spec) -> Spec:
    """Return what a stored Spec means today: a Hugging Face model with the class of its family, else our own Spec.

    The class that it names is never imported: it may have moved since, and a stranger may have written it.

    Raises UnknownModel where there is no such encoder any more, and WeightsError where the checkpoint is not to be had.
    """
    if not is_hub_spec(row):
        return model_spec(row.name)
    from .hub.catalog import CATALOG
    from .hub.families import find_target
    from .resolve import refresh_target

    known = {**_list_all(), **CATALOG}
    if row.name in known:
        return replace(row, target=known[row.name].target)  # pool, size and window stay as they were stored
    # Registered by the training process alone, so that no other process has its class.
    if row.name.endswith(FRAMES_SUFFIX) and row.name not in row.weights[0]:
        raise UnknownModel(f"{row.name} is known only while `percepts train` keeps the frames of an encoder")
    return refresh_target(row, find_target)


def check_precision(encoder: Encoder) -> None:
    """Raise EncodeError where an encoder computes in int8 and its vectors are too far from those of float32.

    The first time, both run on made-up media, and a log line says so; the result is kept. Other encoders pass.
    """
    if encoder.spec.precision == "int8":
        from .hub.int8_check import check_int8

        check_int8(encoder)  # type: ignore[arg-type]  # only checkpoints have another precision than their own


def register_encoder(row: Spec) -> None:
    """Add an encoder in this process; `row.target`, "package.module:Class", is called with spec, runtime=, threads=.

    Another process knows it only if it registers it too, or if it comes by an entry point. Raises ValueError for a name
    that another row has.
    """
    _check_spec(row, {**_list_installed(), **_registered}, "register()")
    _registered[row.name] = row


def is_hub_spec(row: Spec) -> bool:
    """Return whether the weights are a Hugging Face model or a folder in that layout."""
    from ..weights.checkpoint import is_checkpoint

    return any(map(is_checkpoint, row.weights))


def _list_all() -> dict[str, Spec]:
    return {**_list_installed(), **_registered}


@cache
def _list_installed() -> dict[str, Spec]:
    table = dict(_BUILTIN_BY_NAME)
    # Sorted, because the order of installed packages differs between machines.
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        for row in _load_entry_point(point):
            _check_spec(row, table, f"entry point {point.name} = {point.value}")
            table[row.name] = row
    return table


def _load_entry_point(point: EntryPoint) -> Iterable[Spec]:
    """Return the Specs of another package; none, with a warning, where it is broken, so that ours still work."""
    try:
        found = point.load()
    except Exception as error:  # importing the code of others may raise anything
        log.warning("entry point %s = %s of %s does not load: %s", point.name, point.value, GROUP, error)
        return ()
    return (found,) if isinstance(found, Spec) else found


def _check_spec(row: object, table: dict[str, Spec], origin: str) -> None:
    if not isinstance(row, Spec):
        raise TypeError(f"{origin}: expected a percepts Spec, got {type(row).__name__}")
    if table.get(row.name, row) != row:  # the same row twice does no harm
        raise ValueError(f"{origin}: an encoder called {row.name!r} exists already: {table[row.name].target}")
