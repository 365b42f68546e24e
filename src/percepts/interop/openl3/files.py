"""Write embeddings of files to npz with openl3's `process_*` functions, in memory that no file's length changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MediaError, NotMedia
from ...media import open_image, probe, stream_audio, stream_frames
from ...preprocess.pixels import resize
from ...support.outputs import check_output_file
from . import checks, npz
from .audio import WindowCut, embed_blocks, resample_to_48k
from .core import TARGET_SR, Normalization, Resample, make_audio_cut, preprocess_images
from .models import EmbeddingModel, load_audio_embedding_model, load_image_embedding_model
from .openl3_exceptions import OpenL3Error
from .video import read_duration, read_frame_rate

log = logging.getLogger(__name__)

SIDE = 256  # shorter side to which video is decoded


def process_audio_file(
    filepath: str | list[str],
    output_dir: str | None = None,
    suffix: str | None = None,
    model: EmbeddingModel | None = None,
    input_repr: str | None = None,
    content_type: str = "music",
    embedding_size: int = 6144,
    center: bool = True,
    hop_size: float = 0.1,
    batch_size: int = 32,
    overwrite: bool = False,
    frontend: str = "kapre",
    verbose: bool | int = True,
    *,
    strict: bool = False,
    resample: Resample = "openl3",
    dense: bool = False,
) -> None:
    """Write embeddings of audio, or of video's audio, to `<name>[_suffix].npz`: `embedding` (T, D), `timestamps` (T,).

    filepath    a path or a list of them
    output_dir  folder for the npz files, created if missing; None: beside each file
    overwrite   replace existing npz files, which are skipped otherwise; an input is never overwritten

    Other arguments as for get_audio_embedding. Each npz is written when its file is done: a file that fails ends
    the run with an OpenL3Error that names it, and the files before it keep their npz.
    """
    checks.check_model_type(model, "audio")
    input_repr = checks.check_frontend_and_repr(frontend, input_repr, model)
    checks.check_audio_options(content_type, embedding_size, verbose)
    paths = checks.as_paths(filepath)
    cut = make_audio_cut(hop_size, center, batch_size, resample, strict, dense)
    check_outputs(paths, "audio", output_dir, suffix, overwrite)
    model = model or load_audio_embedding_model(input_repr, content_type, embedding_size, frontend)
    for path, out in _pending_files(paths, _output_suffixes("audio", suffix), output_dir, overwrite, verbose):
        with _Named(path):
            _save_sound(path, Path(out[0]), model, cut)


def process_image_file(
    filepath: str | list[str],
    output_dir: str | None = None,
    suffix: str | None = None,
    model: EmbeddingModel | None = None,
    input_repr: str = "mel256",
    content_type: str = "music",
    embedding_size: int = 8192,
    batch_size: int = 32,
    overwrite: bool = False,
    verbose: bool | int = True,
    *,
    normalization: Normalization = "openl3",
) -> None:
    """Write embeddings of images to `<name>[_suffix].npz`: `embedding` (1, D). Arguments as for process_audio_file."""
    checks.check_model_type(model, "image")
    checks.check_image_options(input_repr, content_type, embedding_size, verbose)
    paths = checks.as_paths(filepath)
    checks.check_batch_size(batch_size)
    check_outputs(paths, "image", output_dir, suffix, overwrite)
    model = model or load_image_embedding_model(input_repr, content_type, embedding_size)
    for path, out in _pending_files(paths, _output_suffixes("image", suffix), output_dir, overwrite, verbose):
        with _Named(path):
            batch = preprocess_images(open_image(path).data, normalization)
            npz.save_npz(Path(out[0]), [model.from_network_inputs(batch)])


def process_video_file(
    filepath: str | list[str],
    output_dir: str | None = None,
    suffix: str | None = None,
    audio_model: EmbeddingModel | None = None,
    image_model: EmbeddingModel | None = None,
    input_repr: str | None = None,
    content_type: str = "music",
    audio_embedding_size: int = 6144,
    audio_center: bool = True,
    audio_hop_size: float = 0.1,
    image_embedding_size: int = 8192,
    audio_batch_size: int = 32,
    image_batch_size: int = 32,
    audio_frontend: str = "kapre",
    overwrite: bool = False,
    verbose: bool | int = True,
    *,
    hop: float | None = None,
    strict: bool = False,
    resample: Resample = "openl3",
    normalization: Normalization = "openl3",
    dense: bool = False,
) -> None:
    """Write embeddings of video to `<name>_audio[_suffix].npz` and `<name>_image[_suffix].npz`, on one clock.

    hop            seconds from one vector to the next in both files; None: `audio_hop_size` for audio, and the
                   video's own frame rate for images
    normalization  openl3: 8-bit values divided by 255 (openl3 divides by the largest in the video, mostly 255);
                   trained: to [-1, 1], as in training
    strict         openl3's numbers: frames squeezed to 256 x 256 and divided by the largest value, times by the frame
                   rate rounded down, audio padded with silence to the length of the video

    A video without audio, or without frames, gives the part that it has, and the log warns.
    Other arguments as for process_audio_file.
    """
    checks.check_model_type(audio_model, "audio")
    checks.check_model_type(image_model, "image")
    input_repr = checks.check_frontend_and_repr(audio_frontend, input_repr, audio_model)
    checks.check_audio_options(content_type, audio_embedding_size, verbose)
    checks.check_image_options(input_repr, content_type, image_embedding_size, verbose)
    paths = checks.as_paths(filepath)
    cut = make_audio_cut(hop or audio_hop_size, audio_center, audio_batch_size, resample, strict, dense)
    look = _FrameSampling(checks.check_batch_size(image_batch_size), 1 / hop if hop else None, normalization, strict)
    check_outputs(paths, "video", output_dir, suffix, overwrite)
    # Listed before the two models are loaded, which is for nothing where every file is done.
    todo = list(_pending_files(paths, _output_suffixes("video", suffix), output_dir, overwrite, False))
    if not todo:
        return
    audio_model = audio_model or load_audio_embedding_model(
        input_repr, content_type, audio_embedding_size, audio_frontend
    )
    image_model = image_model or load_image_embedding_model(input_repr, content_type, image_embedding_size)
    for number, (path, (sound, pictures)) in enumerate(todo, 1):
        _print_if_verbose(verbose, "Processing %s (%d/%d)", path, number, len(todo))
        with _Named(path):
            halves = _find_streams(path)
            if sound and "audio" in halves:
                _save_sound(path, Path(sound), audio_model, cut, read_duration(path) if strict else 0.0)
            if pictures and "video" in halves:
                _save_pictures(path, Path(pictures), image_model, look)


def get_output_path(filepath: str, suffix: str, output_dir: str | None = None) -> str:
    """Return `<output_dir>/<name>_<suffix>`, or `<name><suffix>` where the suffix begins with a dot.

    `suffix` includes the ending.

    >>> get_output_path("/sound/dog.wav", "bark.npz", "/out")
    '/out/dog_bark.npz'
    >>> get_output_path("/sound/dog.wav", ".npz")
    '/sound/dog.npz'
    """
    path = Path(filepath)
    folder = Path(output_dir) if output_dir else path.parent
    return str(folder / f"{path.stem}{'' if suffix.startswith('.') else '_'}{suffix}")


def check_outputs(
    paths: list[str],
    modality: str,
    output_dir: str | None = None,
    suffix: str | None = None,
    overwrite: bool = False,
    *,
    quiet: bool = False,
) -> None:
    """Check the npz files to write, before a model is loaded; existing files that will be skipped are not checked.

    The log warns of two files with the same npz, unless `quiet`.

    Raises:
        FileExistsError: an npz would replace one of the files, or a link.
        OSError: an npz cannot be written; the message says why.
    """
    first: dict[str, str] = {}
    for path in paths:
        for ending in _output_suffixes(modality, suffix):
            out = get_output_path(path, f"{ending}.npz", output_dir)
            # Two folders may hold files of one name, which meet in one output folder.
            if first.setdefault(out, path) != path and not quiet:
                kept = "the latter replaces the former" if overwrite else "the latter is skipped"
                log.warning("openl3: %s and %s are both written to %s: %s", first[out], path, out, kept)
            if overwrite or not os.path.exists(out):
                check_output_file(out, inputs=paths, overwrite=overwrite)


def _output_suffixes(modality: str, suffix: str | None) -> list[str]:
    """Return the suffixes of the npz files of one input: one, or for video one for audio and one for images."""
    if modality == "video":
        return ["_".join(filter(None, (kind, suffix))) for kind in ("audio", "image")]
    return [suffix or ""]


@dataclass(frozen=True, slots=True)
class _FrameSampling:
    """How the frames of a video are read: frames per batch, frames per second (None: all), and their scaling."""

    batch: int
    fps: float | None
    normalization: Normalization
    strict: bool


def _pending_files(
    paths: list[str], suffixes: list[str], output_dir: str | None, overwrite: bool, verbose: Any
) -> Iterator[tuple[str, list[str]]]:
    """Yield each path with its npz files to write; "" for an existing one that is not replaced."""
    for number, path in enumerate(paths, 1):
        if not Path(path).exists():
            raise OpenL3Error(f'File "{path}" could not be found.')
        outs = [get_output_path(path, f"{suffix}.npz", output_dir) for suffix in suffixes]
        wanted = [out if overwrite or not Path(out).exists() else "" for out in outs]
        for out, want in zip(outs, wanted, strict=True):
            if not want:
                log.info("openl3: %s exists and overwriting not enabled, skipping.", out)
        if any(wanted):
            Path(outs[0]).parent.mkdir(parents=True, exist_ok=True)
            _print_if_verbose(verbose, "Processing %s (%d/%d)", path, number, len(paths))
            yield path, wanted


def _print_if_verbose(verbose: Any, message: str, *values: Any) -> None:
    if verbose:
        log.info("openl3: " + message, *values)


class _Named:
    """A context that turns an error of a file into an OpenL3Error that names it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        # Only what is about the file; a mistake in the program keeps its type.
        if isinstance(error, MediaError | OSError | OpenL3Error):
            raise OpenL3Error(f'Could not open file "{self._path}":\n{error}') from error


def _save_sound(path: str, out: Path, model: EmbeddingModel, cut: WindowCut, least: float = 0.0) -> None:
    """Write the embeddings of one file's audio, padded with silence to `least` seconds."""
    written = 0

    def count_windows() -> Iterator[np.ndarray]:
        nonlocal written
        for batch in embed_blocks(model, _fill_blocks(_read_audio_at_48k(path, cut), least), cut):
            written += len(batch)
            yield batch

    npz.save_npz(out, count_windows(), _lazy_array(lambda: cut.timestamps(written)))


def _fill_blocks(blocks: Iterator[np.ndarray], least: float) -> Iterator[np.ndarray]:
    lacking = round(least * TARGET_SR)
    for block in blocks:
        lacking -= len(block)
        yield block
    if lacking > 0:
        yield np.zeros(lacking)  # float64, like the blocks


def _read_audio_at_48k(path: str, cut: WindowCut) -> Iterator[np.ndarray]:
    """Yield a file's audio at 48 kHz, its channels averaged in float64 as openl3 does."""
    blocks = stream_audio(path)
    # The rate is known with the first block, and the resampler is made for it.
    first = next(blocks, None)
    if first is None:
        raise OpenL3Error("Got empty audio")

    def channels() -> Iterator[np.ndarray]:
        yield _average_channels(first.data)
        for block in blocks:
            yield _average_channels(block.data)

    yield from resample_to_48k(channels(), first.rate, cut.resampler)


def _average_channels(data: np.ndarray) -> np.ndarray:
    """Return the mean (N,) float64 of channels (C, N) float32."""
    wide: np.ndarray = data.astype(np.float64)
    return np.asarray(wide[0] if len(wide) == 1 else np.add.reduce(wide, axis=0) / len(wide))


def _find_streams(path: str) -> set[str]:
    """Return which of audio and video a file has, and log what is missing."""
    medium = probe(path)
    found = {kind for kind in ("audio", "video") if getattr(medium, kind)}
    if not found:
        raise NotMedia("neither audio nor video")
    for kind, name in (("audio", "audio"), ("video", "video stream")):
        if kind not in found:
            # openl3 fails here; the other half is worth keeping.
            log.warning("openl3: %s has no %s; no npz is written for it", path, name)
    return found


def _save_pictures(path: str, out: Path, model: EmbeddingModel, look: _FrameSampling) -> None:
    fps = look.fps or read_frame_rate(path)
    times: list[np.ndarray] = []
    scale = _frame_scaler(path, fps, look)

    def vectors() -> Iterator[np.ndarray]:
        for frames, starts in _frame_batches(path, fps, look):
            times.append(starts)
            yield model.from_network_inputs(scale(frames))

    npz.save_npz(
        out, vectors(), _lazy_array(lambda: _legacy_times(times, fps) if look.strict else np.concatenate(times))
    )


def _frame_batches(path: str, fps: float, look: _FrameSampling) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield frames (b, H, W, 3) uint8 with their times in seconds (b,)."""
    frames: list[np.ndarray] = []
    starts: list[float] = []
    # openl3 squeezes the full frame; else a smaller one is faster to decode.
    for clip in stream_frames(path, fps=fps, at_least=None if look.strict else SIDE):
        frames.append(resize(clip.data[0], SIDE, SIDE, "bicubic") if look.strict else _upscale_frame(clip.data[0]))
        starts.append(clip.start)
        if len(frames) == look.batch:
            yield np.stack(frames), np.array(starts)
            frames, starts = [], []
    if frames:
        yield np.stack(frames), np.array(starts)


def _upscale_frame(frame: np.ndarray) -> np.ndarray:
    """Scale the frame of a small video up to the size that the network reads, as openl3 does."""
    height, width = frame.shape[:2]
    if min(height, width) >= SIDE:
        return frame
    scale = SIDE / min(height, width)
    return resize(frame, max(SIDE, round(height * scale)), max(SIDE, round(width * scale)), "bicubic")


def _frame_scaler(path: str, fps: float, look: _FrameSampling) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from frames to network inputs.

    openl3 divides by the largest value in the video, so `strict` reads the video once before.
    """
    if look.normalization == "trained":
        return lambda frames: preprocess_images(frames, "trained")
    highest = 255.0
    # Another pass over the video, so only where openl3's number is asked for. 1.0: a black video.
    if look.strict:
        highest = max(float(_crop_middle(frames).max()) for frames, _ in _frame_batches(path, fps, look)) or 1.0
    return lambda frames: np.moveaxis(_crop_middle(frames).astype(np.float32) / np.float32(highest), -1, 1)


def _crop_middle(frames: np.ndarray) -> np.ndarray:
    top, left = (side // 2 - 112 for side in frames.shape[1:3])  # half of the network's 224
    middle: np.ndarray = frames[:, top : top + 224, left : left + 224]
    return middle


def _legacy_times(times: list[np.ndarray], fps: float) -> np.ndarray:
    # openl3 rounds the rate down; below one frame a second that would divide by zero.
    return np.arange(sum(map(len, times))) / float(max(int(fps), 1))


def _lazy_array(make: Callable[[], np.ndarray]) -> Iterator[np.ndarray]:
    """Yield one array that is made only when it is needed."""
    yield make()
