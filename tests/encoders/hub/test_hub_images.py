"""Pictures of hub checkpoints: equal to transformers' own processors and models, whatever the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import transformers
from PIL import Image

from percepts.encoders import model_spec
from percepts.encoders.pooling import pool
from percepts.types import Clip, TextEncoder

CLOSE = 1e-5
"""Of values of about 1. Kernels may sum in another order when a batch has another size: some float32 steps of 1e-7."""
PIXELS = 3e-7 * 4
"""Normalised pixels: some float32 roundings apart, since ours multiplies once where theirs takes three steps."""

FAMILIES = {
    "vit": ("ViTModel", "ViTImageProcessorPil"),
    "deit": ("DeiTModel", "DeiTImageProcessorPil"),
    "beit": ("BeitModel", "BeitImageProcessorPil"),
    "dino2": ("Dinov2Model", "BitImageProcessorPil"),
    "dino2_registers": ("Dinov2WithRegistersModel", "BitImageProcessorPil"),
    "clip": ("CLIPModel", "CLIPImageProcessorPil"),
    "siglip": ("SiglipModel", "SiglipImageProcessorPil"),
    "siglip2": ("Siglip2Model", "Siglip2ImageProcessorPil"),
}
SPACES = ("clip", "siglip", "siglip2")

Make = Callable[..., Path]


def clips() -> list[Clip]:
    return [Clip(picture[None], "image", 0.0) for picture in tiny.pictures()]


def theirs(folder: Path, family: str) -> tuple[dict[str, Any], Any]:
    model, processor = FAMILIES[family]
    images = [Image.fromarray(picture) for picture in tiny.pictures()]
    inputs = getattr(transformers, processor).from_pretrained(folder)(images, return_tensors="pt")
    return inputs, getattr(transformers, model).from_pretrained(folder).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_states_equal_those_of_transformers(family: str, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint(family)
    encoder = tiny.load(str(folder))
    inputs, model = theirs(folder, family)
    with torch.inference_mode():
        found = model.get_image_features(**inputs) if family in SPACES else model(**inputs)
    ours = encoder.tokens(encoder.prepare(clips()))
    expected = found.last_hidden_state.numpy()
    kept = ours.mask if family == "siglip2" else np.ones(ours.mask.shape, bool)  # padded patches are noise in both
    np.testing.assert_allclose(ours.data[kept], expected[kept], atol=CLOSE, rtol=0)


@pytest.mark.parametrize("family", SPACES)
def test_vectors_of_both_towers_equal_those_of_transformers(family: str, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint(family)
    encoder = tiny.load(str(folder))
    assert isinstance(encoder, TextEncoder)
    inputs, model = theirs(folder, family)
    texts = ["a photo of the cat", "dog", "a photo of the red sky, three blue tree"]
    padding = "max_length" if family.startswith("siglip") else True
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        texts, padding=padding, max_length=12, truncation=True, return_tensors="pt"
    )
    tokens = {"input_ids": tokens["input_ids"]} if family != "clip" else tokens
    tokens.pop("token_type_ids", None)
    with torch.inference_mode():
        found = model(**tokens, **inputs)
    pictures = pool(encoder.encode(encoder.prepare(clips())), encoder.spec.pool)
    words = encoder.encode_text(texts)
    np.testing.assert_allclose(pictures, found.image_embeds.numpy(), atol=CLOSE, rtol=0)
    np.testing.assert_allclose(words, found.text_embeds.numpy(), atol=CLOSE, rtol=0)
    heat = encoder.logit_scale
    logits = heat.scale * pictures @ words.T + heat.bias
    np.testing.assert_allclose(logits, found.logits_per_image.numpy(), atol=3e-4, rtol=0)  # CLOSE, times a scale of 14


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "siglip2"])
def test_pixels_equal_those_of_transformers(family: str, tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint(family)
    encoder = tiny.load(str(folder))
    pixels = encoder.pixels
    raw = encoder.prepare(clips())["pixels"].astype(np.float64)
    ours = (raw * pixels.scale - pixels.mean) / pixels.std
    np.testing.assert_allclose(
        ours.transpose(0, 3, 1, 2), theirs(folder, family)[0]["pixel_values"], atol=PIXELS, rtol=0
    )


def test_dino3_takes_bytes_where_its_processor_takes_floats(tiny_checkpoint: Make) -> None:
    # Its only processor needs torchvision, so its steps are written out here: scale, resize floats, normalise.
    folder = tiny_checkpoint("dino3")
    encoder = tiny.load(str(folder))
    ours = encoder.prepare(clips())["pixels"]
    for picture, found in zip(tiny.pictures(), ours, strict=True):
        floats = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
        sized = torch.nn.functional.interpolate(floats, (32, 32), mode="bilinear", antialias=True, align_corners=False)
        difference = np.abs(sized[0].permute(1, 2, 0).numpy() * 255 - found)
        assert difference.max() <= 1.01  # Pillow rounds after each of its two passes
    values = (torch.from_numpy(ours).permute(0, 3, 1, 2) / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / (
        torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    )
    with torch.inference_mode():
        expected = transformers.DINOv3ViTModel.from_pretrained(folder).eval()(values).last_hidden_state
    np.testing.assert_allclose(encoder.tokens({"pixels": ours}).data, expected.numpy(), atol=CLOSE, rtol=0)


@pytest.mark.parametrize("family", ["vit", "beit", "clip", "siglip", "dino2", "dino3"])
def test_another_size_interpolates_the_positions(family: str, tiny_checkpoint: Make) -> None:
    row = model_spec(str(tiny_checkpoint(family)))
    cropped = row.size == 36
    encoder = tiny.load(replace(row, size=72 if cropped else 64))
    inputs = encoder.prepare(clips())
    assert inputs["pixels"].shape[1:3] == (64, 64)
    assert encoder.grid.shape == (8, 8)
    assert encoder.tokens(inputs).mask.sum(axis=1).tolist() == [64] * len(clips())


def test_an_interpolated_vit_equals_transformers_told_to_interpolate(tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("vit")
    encoder = tiny.load(replace(model_spec(str(folder)), size=64))
    inputs = encoder.prepare(clips())
    values = torch.from_numpy((inputs["pixels"] / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        model = transformers.ViTModel.from_pretrained(folder).eval()
        expected = model(values, interpolate_pos_encoding=True).last_hidden_state
    np.testing.assert_allclose(encoder.tokens(inputs).data, expected.numpy(), atol=CLOSE, rtol=0)


def test_a_size_that_is_no_multiple_of_the_patch_says_so(tiny_checkpoint: Make) -> None:
    encoder = tiny.load(replace(model_spec(str(tiny_checkpoint("vit"))), size=36))
    with pytest.raises(ValueError, match="multiple of the patch, 8, got 36x36"):
        encoder.encode(encoder.prepare(clips()))


@pytest.mark.parametrize("family", [*FAMILIES, "dino3"])
def test_a_batch_equals_singles(family: str, tiny_checkpoint: Make) -> None:
    encoder = tiny.load(str(tiny_checkpoint(family)))
    whole = pool(encoder.encode(encoder.prepare(clips())), encoder.spec.pool)
    singles = [pool(encoder.encode(encoder.prepare([clip])), encoder.spec.pool)[0] for clip in clips()]
    np.testing.assert_allclose(whole, singles, atol=CLOSE, rtol=0)
    assert whole.shape == (len(clips()), encoder.spec.dim)
