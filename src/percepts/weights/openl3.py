"""Find, fetch and read OpenL3's weight files, as the 48 arrays of a network.

Formats are Keras' h5 (of openl3 0.2 to 0.4, gzipped or not), read by the order of its layers, and safetensors with our
names.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingExtra, WeightsError
from ..networks.openl3.plan import CHANNELS, PUBLISHED, Modality, OpenL3Weights, PublishedModel, digest, list_arrays
from ..support.cache import atomic_cache_path, cache_root, lock_path, make_folder
from ..support.files import remove_file, replace_file
from .files import hash_file, is_offline

log = logging.getLogger(__name__)

URL = "https://github.com/marl/openl3/raw/models/{stem}-v0_4_0.h5.gz"
FOLDER_VARIABLE = "PERCEPTS_OPENL3_WEIGHTS"
# Searched in this order. The 0.2 files hold the weights of 0.4 and, in addition, a spectrogram layer.
SUFFIXES = (".safetensors", ".h5", "-v0_4_0.h5", "-v0_4_0.h5.gz", "-v0_2_0.h5", "-v0_2_0.h5.gz", ".h5.gz")
FILE_BYTES = 18_800_000  # bytes of each of the published files, unpacked; packed a tenth less
MAX_BYTES = 64 << 20  # bytes a file may unpack to; the published ones unpack to 18.8 MB
_HDF5, _GZIP = b"\x89HDF\r\n\x1a\n", b"\x1f\x8b"
_LAYER_ARRAYS = {
    "norm": ("gamma", "beta", "moving_mean", "moving_variance"),
    "conv": ("kernel", "bias"),
}

MODELS_BY_NAME = {model.name: model for model in PUBLISHED}
"""Published networks by the names of their weights in the registry."""

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the bytes that are here and those there will be (0 where unknown)."""


def read_weights(path: Path, modality: Modality) -> OpenL3Weights:
    """Read the network in `path`, whatever its ending: the first bytes tell h5, gzip and safetensors apart.

    Raises WeightsError, naming the file, for anything that is not an OpenL3 network of this modality.
    """
    try:
        data = _unpack(path.read_bytes())
        arrays = _read_h5(data) if data.startswith(_HDF5) else _read_safetensors(data, modality)
        return OpenL3Weights(modality, tuple(np.asarray(array, np.float32) for array in arrays))
    except (EOFError, OSError, ValueError, KeyError, TypeError, zlib.error, json.JSONDecodeError) as error:
        # Here the path is wrong and not what the file holds.
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise WeightsError(f"{path}: {error}. {_describe_expected(path, modality)}") from error


def _describe_expected(path: Path, modality: Modality) -> str:
    return f"Expected the weights of an OpenL3 {modality} network as h5, h5.gz or safetensors"


def _unpack(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        try:
            # A file that unpacks to gigabytes must not fill the memory.
            unpacked = stream.read(MAX_BYTES + 1)
        except EOFError as error:
            raise ValueError(f"the gzip file ends too early, after {len(data)} bytes") from error
    if len(unpacked) > MAX_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_BYTES >> 20} MB")
    return unpacked


def _read_h5(data: bytes) -> list[np.ndarray]:
    """Return the arrays of the layers in the order of `layer_names`; their names differ from file to file."""
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("OpenL3's h5 weights need h5py: pip install 'percepts[openl3]'") from error
    arrays: list[np.ndarray] = []
    with h5py.File(io.BytesIO(data), "r") as file:
        if "layer_names" not in file.attrs:
            raise ValueError(f"an h5 file without layer_names; it holds {', '.join(list(file)[:5]) or 'nothing'}")
        for layer in map(_decode_name, file.attrs["layer_names"]):
            group = _get_group(h5py, file, layer)
            names = [_decode_name(name) for name in group.attrs.get("weight_names", ())]
            if names and not _is_spectrogram(names):
                arrays += [np.asarray(_get_dataset(h5py, group, name)) for name in _check_names(layer, names)]
    return arrays


def _decode_name(name: Any) -> str:
    # h5py gives bytes or str, by how the file was written.
    return name.decode() if isinstance(name, bytes) else str(name)


def _get_group(h5py: Any, file: Any, name: str) -> Any:
    # Soft and external links could lead to other files of the machine.
    found = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Group):
        raise ValueError(f"its layer_names name {name!r}, which is no group in it")
    return found


def _get_dataset(h5py: Any, group: Any, name: str) -> Any:
    found = group.get(name)
    # An external link gives an array of another file.
    if not isinstance(found, h5py.Dataset) or found.file != group.file or found.dtype.kind != "f":
        raise ValueError(f"layer {group.name} has no array of floats {name!r}")
    return found


def _is_spectrogram(names: Sequence[str]) -> bool:
    """Return whether these are of a frontend: openl3 0.2 and 0.3 kept its kernels and mel matrix among the weights."""
    return any("real_kernels" in name or "freq2mel" in name for name in names)


def _check_names(layer: str, names: Sequence[str]) -> Sequence[str]:
    """Return the names, after a check that they are those of a normalisation or a convolution."""
    short = tuple(name.rsplit("/", 1)[-1].partition(":")[0] for name in names)
    if short not in _LAYER_ARRAYS.values():
        raise ValueError(f"layer {layer!r} holds {', '.join(short)}, which no layer of OpenL3 does")
    return names


def _read_safetensors(data: bytes, modality: Modality) -> list[np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
    except SafetensorError as error:
        raise ValueError(f"neither h5, gzip nor safetensors: it begins {data[:8]!r}") from error
    missing = [name for name, _ in list_arrays(modality) if name not in tensors]
    if missing:
        raise ValueError(f"safetensors without {missing[0]!r}; it holds {', '.join(list(tensors)[:5])}")
    return [tensors[name] for name, _ in list_arrays(modality)]


def to_safetensors(weights: OpenL3Weights) -> bytes:
    """Return the network as a safetensors file, with our names; `read` gives the same arrays back."""
    from safetensors.numpy import save

    names = [name for name, _ in list_arrays(weights.modality)]
    tensors = {name: np.ascontiguousarray(array) for name, array in zip(names, weights.arrays, strict=True)}
    return save(tensors, {"network": f"openl3 {weights.modality}", "license": "CC-BY-4.0"})


def write_safetensors(weights: OpenL3Weights, path: Path) -> None:
    """Write the network as `to_safetensors` has it, over what is there."""
    with atomic_cache_path(path) as part:
        part.write_bytes(to_safetensors(weights))


def find_modality(path: Path) -> Modality:
    """Return which of the two networks a file holds. WeightsError where it is neither."""
    errors = []
    # The first arrays have 1 or 3 channels, so that no file passes as both.
    for modality in CHANNELS:
        try:
            return read_weights(path, modality).modality  # type: ignore[arg-type]
        except WeightsError as error:
            errors.append(error)
    raise errors[0]


def hash_published(name: str) -> str:
    """Return the digest of published weights, which are fetched if they are not here: upstream publishes none."""
    return digest(read_weights(local_path(MODELS_BY_NAME[name]), MODELS_BY_NAME[name].modality))


def cache_folder() -> Path:
    """Return the folder of fetched files."""
    return cache_root() / "weights" / "openl3"


def find_file(model: PublishedModel, where: Path | None = None) -> Path | None:
    """Return the file of a published network, in `where`, PERCEPTS_OPENL3_WEIGHTS or the cache; None if nowhere."""
    named = os.environ.get(FOLDER_VARIABLE)
    for place in (where, Path(named) if named else None, cache_folder()):
        for ending in SUFFIXES if place else ():
            found = place / f"{model.stem}{ending}"  # type: ignore[operator]
            if found.is_file():
                return found
    return None


def local_path(model: PublishedModel, where: Path | None = None, on_progress: Progress | None = None) -> Path:
    """Return the file of a published network, which is fetched into the cache at first use.

    Raises WeightsError where it cannot be had; it says which file to put where.
    """
    found = find_file(model, where)
    # A file that the user gave is taken as it is: only files of the cache have a record.
    if found and found.parent != cache_folder():
        return found
    kept = cache_folder() / f"{model.stem}-v0_4_0.h5.gz"
    # Several processes of a job may want the file at the same time.
    with lock_path(kept):
        if found and (found != kept or _is_recorded(kept)):
            return found
        if is_offline():
            raise WeightsError(_explain_missing(model, kept, "PERCEPTS_OFFLINE forbids fetching it"))
        return _fetch_file(model, kept, on_progress)


def _fetch_file(model: PublishedModel, kept: Path, on_progress: Progress | None) -> Path:
    """Download beside the final name, or resume an earlier try; then check, record and rename."""
    from .download import Unavailable, fetch_file  # 30 ms that only a download is worth
    from .index_settings import read_indexes

    address = URL.format(stem=model.stem)
    partial = kept.with_name(kept.name + ".download")
    make_folder(kept.parent)
    log.info("fetching %s from %s", model.name, address)
    try:
        fetch_file(
            address,
            partial,
            limit=MAX_BYTES,
            access=read_indexes().access,
            on_progress=lambda here, total: on_progress and on_progress(kept.name, here, total),
        )
    except Unavailable as error:
        raise WeightsError(_explain_missing(model, kept, f"{address}: {error}")) from error
    try:
        read_weights(partial, model.modality)
    except WeightsError as error:
        remove_file(partial)  # complete, and not what was wanted: another try must not resume it
        raise WeightsError(f"{address} gave no weights of {model.name}: {error}") from error
    _write_record(kept, partial)
    replace_file(partial, kept)
    return kept


def _write_record(kept: Path, partial: Path) -> None:
    """Write down the digest of the first complete file, since upstream publishes none; later reads must match it."""
    with atomic_cache_path(_record_path(kept)) as part:
        part.write_text(json.dumps({"bytes": partial.stat().st_size, "sha256": hash_file(partial)}))


def _is_recorded(kept: Path) -> bool:
    """Return whether the cached file is the one that was fetched; one without a record was put there by hand."""
    record = _record_path(kept)
    if not record.exists():
        return True
    with suppress(OSError, ValueError):
        if json.loads(record.read_bytes()) == {"bytes": kept.stat().st_size, "sha256": hash_file(kept)}:
            return True
    log.warning("%s is not the file that was fetched; fetching it again", kept)
    return False


def _record_path(kept: Path) -> Path:
    return kept.with_name(kept.name + ".json")


def _explain_missing(model: PublishedModel, kept: Path, why: str) -> str:
    return (
        f"the weights of {model.name} are not here: {why}. "
        f"Put {kept.name}, {model.stem}.h5 or {model.stem}.safetensors into {kept.parent}, "
        f"or into a folder and set {FOLDER_VARIABLE}=DIR. Upstream's address: {URL.format(stem=model.stem)}"
    )


def list_missing(models: Iterable[PublishedModel], where: Path | None = None) -> list[PublishedModel]:
    """Return those of `models` of which no file is here; nothing is fetched."""
    return [model for model in models if find_file(model, where) is None]
