"""Pictures as discrete colours (ImageGPT) and as linear patches (Fuyu): equal to transformers'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tiny
import torch
import transformers
from PIL import Image

from percepts.encoders.hub.fuyu import patch_order
from percepts.types import Clip

Make = Callable[..., Path]
CLOSE = 1e-5


def clips() -> list[Clip]:
    return [Clip(picture[None], "image", 0.0) for picture in tiny.pictures()]


def images() -> list[Image.Image]:
    return [Image.fromarray(picture) for picture in tiny.pictures()]


def test_colours_and_states_of_imagegpt_equal_transformers(tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("imagegpt")
    encoder = tiny.load(str(folder))
    ids = transformers.ImageGPTImageProcessorPil.from_pretrained(folder)(images(), return_tensors="pt").input_ids
    inputs = encoder.prepare(clips())
    assert np.array_equal(inputs["ids"], ids.numpy())
    with torch.inference_mode():
        expected = transformers.ImageGPTModel.from_pretrained(folder).eval()(input_ids=ids).last_hidden_state
    np.testing.assert_allclose(encoder.tokens(inputs).data, expected.numpy(), atol=CLOSE, rtol=0)


def test_a_picture_of_cluster_colours_survives_the_way_there_and_back(tiny_checkpoint: Make) -> None:
    encoder = tiny.load(str(tiny_checkpoint("imagegpt")))
    ids = np.random.default_rng(1).integers(0, 16, (2, 64))
    picture = encoder.decode_colours(ids)
    again = encoder.prepare([Clip(one[None], "image", 0.0) for one in picture])["ids"]
    assert np.array_equal(again, ids)


def test_patches_of_fuyu_equal_transformers_processor_with_a_newline_a_row(tiny_checkpoint: Make) -> None:
    folder = tiny_checkpoint("fuyu")
    encoder = tiny.load(str(folder))
    processor = transformers.FuyuImageProcessorPil.from_pretrained(folder)
    inputs = encoder.prepare(clips())
    frames = encoder.tokens(inputs)
    layer = transformers.FuyuForCausalLM.from_pretrained(folder).model.vision_embed_tokens
    for i, image in enumerate(images()):
        found = processor(image, return_tensors="pt")
        cut = processor.preprocess_with_tokenizer_info(
            torch.as_tensor(np.asarray(found["images"][0][0]))[None, None],
            torch.ones(1, 1, 1),
            torch.tensor([[found["image_unpadded_heights"][0][0]]]),
            torch.tensor([[found["image_unpadded_widths"][0][0]]]),
            image_placeholder_id=1,
            image_newline_id=2,
            variable_sized=True,
        )
        patches = cut["image_patches"][0][0].float()
        rows, columns = inputs["shape"][i]
        assert np.array_equal(cut["image_patch_indices_per_batch"][0][0].numpy(), patch_order(rows, columns))
        ours = inputs["patches"][i, : rows * columns] / 255 * 2 - 1
        np.testing.assert_allclose(ours, patches.numpy(), atol=1e-6, rtol=0)
        expected = layer(patches).detach().numpy()
        np.testing.assert_allclose(frames.data[i][frames.mask[i]], expected, atol=5e-5, rtol=0)  # sums of 2700 terms
