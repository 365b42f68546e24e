"""What transformers does with awkward pictures and recordings, and what happens to them here: one test a trap."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
import torch
import transformers
from PIL import Image

import percepts
from percepts.encoders import load_encoder, model_spec
from percepts.media import open_image
from percepts.types import Clip, Encoder

Make = Callable[..., Path]


@pytest.fixture
def processor(tiny_checkpoint: Make) -> transformers.ViTImageProcessorPil:
    return transformers.ViTImageProcessorPil.from_pretrained(tiny_checkpoint("vit"))


@pytest.fixture
def encoder(tiny_checkpoint: Make) -> Encoder:
    return load_encoder(str(tiny_checkpoint("vit")))


def encoded(image: Image.Image) -> Clip:
    data = BytesIO()
    image.save(data, "PNG")
    return open_image(data.getvalue())


def test_without_return_tensors_transformers_gives_a_list_that_no_model_takes(
    processor: transformers.ViTImageProcessorPil, encoder: Encoder, tiny_checkpoint: Make
) -> None:
    # Trap 3.
    values = processor(Image.fromarray(tiny.pictures()[0]))["pixel_values"]
    assert isinstance(values, list)
    with pytest.raises(AttributeError):
        transformers.ViTModel.from_pretrained(tiny_checkpoint("vit"))(pixel_values=values)
    inputs = encoder.prepare([Clip(tiny.pictures()[0][None], "image", 0.0)])
    assert isinstance(inputs["pixels"], np.ndarray)
    assert encoder.encode(inputs).data.dtype == np.float32


def test_floats_are_no_picture(processor: transformers.ViTImageProcessorPil) -> None:
    # Trap 7: noise around 0 fails deep in Pillow's conversion; in 0..1 it passes and is scaled once more.
    with pytest.raises(ValueError, match=r"outside the range \[0, 1\]"):
        processor(torch.randn(3, 32, 40), return_tensors="pt")
    with pytest.raises(ValueError, match=r"expected \(N, H, W, 3\) uint8 for image, got float"):
        Clip(np.random.default_rng(0).standard_normal((1, 32, 40, 3)), "image", 0.0)


def test_nobody_can_forget_to_scale(processor: transformers.ViTImageProcessorPil, encoder: Encoder) -> None:
    # Trap 8: bytes with do_rescale=False pass, and a pixel is worth up to 509.
    white = np.full((32, 32, 3), 255, np.uint8)
    assert processor(white, do_rescale=False, return_tensors="np")["pixel_values"].max() > 500
    scale = encoder.pixels.scale  # type: ignore[attr-defined]
    assert scale == pytest.approx(1 / 255)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA", "I;16", "CMYK"])
def test_pictures_of_every_mode_come_in_colour(
    mode: str, processor: transformers.ViTImageProcessorPil, encoder: Encoder
) -> None:
    # Trap 9: grey and transparent pictures are errors about lists and lengths of means.
    grey = Image.fromarray(tiny.pictures()[0]).convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        image = grey.convert("RGB").convert(mode) if mode not in ("L", "LA") else grey.convert(mode)
    if mode in ("L", "RGBA"):
        with pytest.raises(ValueError):
            processor(image, return_tensors="pt")
    if mode == "CMYK":
        data = BytesIO()
        image.save(data, "TIFF")
        clip = open_image(data.getvalue())
    else:
        clip = encoded(image)
    assert clip.data.shape[-1] == 3
    assert np.isfinite(encoder.encode(encoder.prepare([clip])).data).all()


def test_a_layout_is_never_guessed(processor: transformers.ViTImageProcessorPil) -> None:
    # Trap 10: (3, 64, 3) may be either; transformers takes channels first.
    taken = processor(np.zeros((3, 64, 3), np.uint8), return_tensors="np")["pixel_values"]
    assert taken.shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"expected \(N, H, W, 3\) uint8"):
        Clip(np.zeros((1, 3, 64, 48), np.uint8), "image", 0.0)  # channels first
    assert Clip(np.zeros((1, 3, 64, 3), np.uint8), "image", 0.0).length == 1  # three rows high


def test_another_size_is_an_option_and_not_an_error(tiny_checkpoint: Make) -> None:
    # Trap 33.
    folder = tiny_checkpoint("vit")
    model = transformers.ViTModel.from_pretrained(folder).eval()
    with pytest.raises(ValueError, match="doesn't match model"):
        model(torch.zeros(1, 3, 64, 64))
    encoder = load_encoder(model_spec(str(folder), size=64))
    picture = Clip(tiny.pictures()[0][None], "image", 0.0)
    assert encoder.encode(encoder.prepare([picture])).data.shape == (1, 1 + 64, 32)


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_recordings_of_any_rate_and_width_need_neither_torchaudio_nor_ffmpeg(
    tiny_checkpoint: Make, tmp_path: Path
) -> None:
    # Traps 12, 14, 30: the pipeline wants 16 kHz mono, else torchaudio; two channels are a batch of two.
    rate, folder = 44_100, tiny_checkpoint("ast")
    sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * rate) / rate)
    soundfile.write(tmp_path / "stereo.wav", np.stack([sound, sound], axis=1), rate)
    soundfile.write(tmp_path / "mono.wav", sound, rate)
    found = {name: list(percepts.embed_iter(tmp_path / f"{name}.wav", str(folder))) for name in ("stereo", "mono")}
    assert [(r.start, r.stop) for r in found["stereo"]] == [(0.0, 2.0), (2.0, 4.0), (4.0, 5.0)]  # windows of 2 s
    for stereo, mono in zip(found["stereo"], found["mono"], strict=True):
        np.testing.assert_allclose(stereo.vector, mono.vector, atol=1e-5)


def test_silence_and_padding_are_told_apart(tiny_checkpoint: Make) -> None:
    # Trap 17: AST's padding, zeros before the normalising, is louder than the mean of AudioSet and than silence.
    encoder = load_encoder(str(tiny_checkpoint("ast")))
    silence = Clip(np.zeros((1, 16_000), np.float32), "audio", 16_000)
    values = encoder.prepare([silence])["fbank"][0]
    assert values[0, 0] == pytest.approx(-1.278, abs=1e-3)
    assert values[-1, 0] == pytest.approx(0.467, abs=1e-3)
    mask = encoder.encode(encoder.prepare([silence])).mask[0, 1:].reshape(12, 19)
    assert mask[:, :10].all() and not mask[:, 10:].any()  # 98 of 200 frames: the tenth column begins at 90
