"""Compute embeddings of arrays with openl3's functions and arguments."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from ...preprocess.openl3 import RATE, spectrogram
from ...preprocess.openl3_pixels import as_openl3, crop_centre, scale_to_trained_range
from . import checks
from .audio import RESAMPLERS, WindowCut, cut_windows, embed_blocks, mix_to_mono, resample_to_48k, split_blocks
from .dense import nearest_hop
from .models import EmbeddingModel, load_audio_embedding_model, load_image_embedding_model
from .openl3_exceptions import OpenL3Error
from .openl3_warnings import OpenL3Warning

TARGET_SR = RATE

Resample = Literal["openl3", "soxr"]
Normalization = Literal["openl3", "trained"]


def get_audio_embedding(
    audio: np.ndarray | list[np.ndarray],
    sr: float | list[float],
    model: EmbeddingModel | None = None,
    input_repr: str | None = None,
    content_type: str = "music",
    embedding_size: int = 6144,
    center: bool = True,
    hop_size: float = 0.1,
    batch_size: int = 32,
    frontend: str = "kapre",
    verbose: bool | int = True,
    *,
    strict: bool = False,
    resample: Resample = "openl3",
    dense: bool = False,
) -> tuple[Any, Any]:
    """Compute embeddings of one-second windows: (T, D) float32 and times (T,) float64 in seconds; lists for lists.

    audio           (N,), (N, C) or (C, N) samples, or a list; integers are scaled by their type
    sr              Hz, one for all or a list
    model           from load_audio_embedding_model; else the published one of input_repr, content_type, embedding_size
    input_repr      linear, mel128 or mel256; None is mel256, or the model's; required for librosa
    content_type    music or env
    embedding_size  6144 or 512
    center          the first window is centred on the first sample, and timestamps are the windows' centres; else
                    they are their starts
    hop_size        seconds from one window to the next
    batch_size      windows cut at a time; does not affect results
    frontend        kapre, librosa or trained
    verbose         checked, without effect here
    strict          openl3 0.4.2's numbers even where they are wrong (docs/openl3.md)
    resample        openl3: resampy 0.2.2's kaiser_best; soxr: HQ, faster, other numbers
    dense           share the convolutions of overlapping windows: about ten times faster at the usual hop, and near
                    the exact numbers but not equal to them (docs/openl3.md). The hop becomes the nearest multiple of
                    1936 samples (40 ms), and the timestamps say so

    Raises OpenL3Error for arguments and audio it cannot use. Warns with OpenL3Warning about silence and about audio of
    less than a second.
    """
    checks.check_model_type(model, "audio")
    input_repr = checks.check_frontend_and_repr(frontend, input_repr, model)
    checks.check_audio_options(content_type, embedding_size, verbose)
    sounds = checks.as_arrays(audio, "audio")
    rates = checks.as_rates(sr, "sr", len(sounds), "audio")
    # After the arguments are checked, since weights may have to be downloaded.
    model = model or load_audio_embedding_model(input_repr, content_type, embedding_size, frontend)
    found = []
    for sound, rate in zip(sounds, rates, strict=True):
        cut = make_audio_cut(hop_size, center, batch_size, resample, strict, dense)
        blocks = _resampled_blocks(sound, rate, resample, strict)
        found.append(_stack_batches(list(embed_blocks(model, blocks, cut)), cut))
    if not isinstance(audio, list):
        return found[0]
    return [made for made, _ in found], [times for _, times in found]


def _stack_batches(batches: list[np.ndarray], cut: WindowCut) -> tuple[np.ndarray, np.ndarray]:
    made = np.concatenate(batches)
    return made, cut.timestamps(len(made))


def preprocess_audio(
    audio: np.ndarray,
    sr: float,
    hop_size: float = 0.1,
    input_repr: str | None = None,
    center: bool = True,
    *,
    strict: bool = False,
    resample: Resample = "openl3",
    frontend: str = "librosa",
) -> np.ndarray:
    """Return the input of a model's `predict`: windows (n, 1, 48000), or with `input_repr` spectrograms (n, F, T, 1).

    Spectrograms are librosa's, as in openl3, unless `frontend` names another.
    """
    if input_repr is not None and str(input_repr) not in ("linear", "mel128", "mel256"):
        raise OpenL3Error(f'Invalid input representation "{input_repr}"')
    if not isinstance(audio, np.ndarray):
        raise OpenL3Error(f"audio must be type np.ndarray. Got {type(audio)}")
    cut = make_audio_cut(hop_size, center, 32, resample, strict)
    batches = cut_windows(_resampled_blocks(audio, sr, resample, strict), cut)
    if input_repr is None:
        return np.concatenate([np.array(batch) for batch in batches])[:, None]
    # The last axis is Keras's channel.
    return np.concatenate([spectrogram(batch, str(input_repr), frontend) for batch in batches])[..., None]


def _resampled_blocks(sound: np.ndarray, sr: Any, resample: str, strict: bool) -> Iterator[np.ndarray]:
    """Check an array and yield it as blocks at 48 kHz."""
    samples = mix_to_mono(sound, strict=strict)
    rate = checks.sample_rate(sr)
    if int(len(samples) * RATE / rate) < 1:  # resampy refuses it, too
        raise OpenL3Error(f"Got audio of {len(samples)} samples at {rate:g} Hz, which is not one sample at 48 kHz")
    return resample_to_48k(split_blocks(samples), rate, resample)


def make_audio_cut(
    hop_size: Any, center: Any, batch_size: Any, resample: str, strict: bool, dense: bool = False
) -> WindowCut:
    """Check the settings of cutting and return them."""
    hop, asked = checks.hop_samples(hop_size, center), float(hop_size)
    if resample not in RESAMPLERS:
        raise OpenL3Error(f"Invalid resample {resample!r}. Must be one of {', '.join(RESAMPLERS)}")
    if dense:
        hop = nearest_hop(asked * RATE)
        asked = hop / RATE
    return WindowCut(hop, asked, bool(center), checks.check_batch_size(batch_size), resample, strict, dense)


def get_image_embedding(
    image: np.ndarray | list[np.ndarray],
    frame_rate: float | list[float] | None = None,
    model: EmbeddingModel | None = None,
    input_repr: str = "mel256",
    content_type: str = "music",
    embedding_size: int = 8192,
    batch_size: int = 32,
    verbose: bool | int = True,
    *,
    strict: bool = False,
    normalization: Normalization = "openl3",
) -> Any:
    """Compute embeddings of images: (N, D) float32, and with a frame rate also seconds (N,); lists for lists.

    image           (H, W, 3) or (N, H, W, 3), sides of 224 pixels or more, or a list
    frame_rate      frames per second, one for all or a list; None for images that are not a video
    model           from load_image_embedding_model; else the published one of input_repr, content_type, embedding_size
    embedding_size  8192 or 512
    strict          with a list of frame rates, use the last for all, as openl3 does
    normalization   openl3: exactly as openl3 scales images, which depends on their size (docs/openl3.md);
                    trained: shorter side to 256, the central 224, to [-1, 1], for 8-bit images of any size

    Raises OpenL3Error for arguments and images it cannot use; warns with OpenL3Warning about black images.
    """
    checks.check_model_type(model, "image")
    checks.check_image_options(input_repr, content_type, embedding_size, verbose)
    pictures = checks.as_arrays(image, "image")
    rates = checks.as_rates(frame_rate, "frame_rate", len(pictures), "image", optional=True)
    batch_size = checks.check_batch_size(batch_size)
    batches = []
    for picture, rate in zip(pictures, rates, strict=True):
        checks.check_frame_rate(rate)
        batches.append(preprocess_images(picture, normalization))
    # After the images are checked, since weights may have to be downloaded.
    model = model or load_image_embedding_model(input_repr, content_type, embedding_size)
    vectors = [model.from_network_inputs(batch) for batch in batches]
    times = check_frame_times([len(v) for v in vectors], rates, strict)
    single = not isinstance(image, list)
    if times is None:
        return vectors[0] if single else vectors
    return (vectors[0], times[0]) if single else (vectors, times)


def check_frame_times(counts: list[int], rates: list[Any], strict: bool) -> list[Any] | None:
    """Return the times of the frames of each array in seconds; None where no array has a rate."""
    if strict and rates:
        rates = [rates[-1]] * len(rates)  # openl3 uses the last of them for all
    if all(rate is None for rate in rates):
        return None
    return [None if rate is None else np.arange(n) / float(rate) for n, rate in zip(counts, rates, strict=True)]


def preprocess_images(image: np.ndarray, normalization: str = "openl3") -> np.ndarray:
    """Check images (H, W, 3) or (N, H, W, 3) as openl3 does; return the network's input (N, 3, 224, 224) float32."""
    if image.size == 0:
        raise OpenL3Error("Got empty image")
    if not image.any():
        warnings.warn("Provided image is all zeros", OpenL3Warning, stacklevel=3)
    if image.ndim not in (3, 4):
        raise OpenL3Error("RGB image array can only be 3D or 4D (sequence of videos)")
    if image.shape[-1] != 3:
        raise OpenL3Error("Need 3 channel images corresponding to RGB.")
    images = image if image.ndim == 4 else image[None]
    if normalization not in _NORMALIZATIONS:
        names = ", ".join(_NORMALIZATIONS)
        raise OpenL3Error(f"Invalid normalization {normalization!r}. Must be one of {names}")
    # Our network has channels first, openl3's has them last.
    return np.moveaxis(_NORMALIZATIONS[normalization](images), -1, 1)


def _openl3_pixels(images: np.ndarray) -> np.ndarray:
    height, width = images.shape[1:3]
    if min(height, width) < 224:
        raise OpenL3Error(
            # openl3's message, as it stands there.
            f"Image(s) must be at at least as large as 224x224 px. Got image(s) of size {height}x{width} px"
        )
    if images.dtype.kind not in "iufb":
        raise OpenL3Error(f"Image(s) can only hold numbers, got {images.dtype}")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise OpenL3Error("Image holds NaN or infinity")
    return as_openl3(images)


def _trained_pixels(images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8:
        raise OpenL3Error(f"normalization 'trained' takes uint8 images, got {images.dtype}")
    return scale_to_trained_range(np.stack([crop_centre(picture) for picture in images]))


_NORMALIZATIONS = {"openl3": _openl3_pixels, "trained": _trained_pixels}
