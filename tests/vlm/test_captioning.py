"""Captions are what transformers' own models write, whatever stands beside a picture in its batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tiny_writers import pictures

from percepts.errors import QuestionError, UnknownModel
from percepts.types import Clip
from percepts.vlm.families import CAPTION, load_model, resolve_model
from percepts.vlm.generation import GenerationOptions
from percepts.weights.pretrained import silence_transformers

FIXED = ("blip", "git", "vit_gpt2")
CHAT = ("llava", "idefics3", "smolvlm", "qwen2_vl", "qwen2_5_vl")
PICTURES = [np.ascontiguousarray(np.resize(p, (40 + 9 * i, 61, 3))) for i, p in enumerate(pictures()[:3])]
GREEDY = GenerationOptions(max_new_tokens=6, num_beams=1)


def clip(picture: np.ndarray) -> Clip:
    return Clip(picture[None], "image", 0.0)


def captioner(folder: Path, **options: Any) -> Any:
    return load_model(resolve_model(str(folder), CAPTION), **options)


@pytest.fixture(params=FIXED)
def fixed(request: pytest.FixtureRequest, writer: Callable[[str], Path]) -> Any:
    return request.param, writer(request.param), captioner(writer(request.param))


KINDS = {"blip": "BlipForConditionalGeneration", "git": "GitForCausalLM", "vit_gpt2": "VisionEncoderDecoderModel"}
PROCESSORS = {"blip": "BlipImageProcessorPil", "git": "CLIPImageProcessorPil", "vit_gpt2": "ViTImageProcessorPil"}


@pytest.mark.parametrize("prefix", ["", "a photo of the"])
@pytest.mark.parametrize(
    "options", [{"num_beams": 1}, {"num_beams": 3, "length_penalty": 2.0, "repetition_penalty": 1.5}]
)
def test_ids_are_those_of_a_direct_call(fixed: Any, prefix: str, options: dict[str, Any]) -> None:
    name, folder, ours = fixed
    with silence_transformers():
        model = getattr(transformers, KINDS[name]).from_pretrained(folder).eval()
        pixels = getattr(transformers, PROCESSORS[name]).from_pretrained(folder)(
            Image.fromarray(PICTURES[0]), return_tensors="pt"
        )["pixel_values"]
        before = ours.tokenize_prefix(prefix)
        ids = torch.tensor([[1, *before]])
        given = {"blip": {"input_ids": torch.tensor([[1, *before, 2]])}, "git": {"input_ids": ids},
                 "vit_gpt2": {"decoder_input_ids": ids}}[name]  # fmt: skip
        direct = model.generate(pixel_values=pixels, max_new_tokens=6, **given, **options)[0]
    inputs = ours.prepare([clip(PICTURES[0])])
    found = ours.write(ours.pixel_values(inputs), ids.numpy(), GenerationOptions(max_new_tokens=6, **options))[0]
    new = [token for token in direct[1 + len(before) :].tolist() if token not in (0, 2)]
    assert [token for token in found.ids if token != 0] == new
    text = ours.caption(inputs, GenerationOptions(max_new_tokens=6, **options), prefix=prefix)[0].text
    assert text.startswith(prefix)
    if not prefix:
        assert text == ours.tokenizer.decode(new, skip_special_tokens=True).strip()


def test_the_checkpoints_own_beams_count_where_none_are_asked(writer: Callable[[str], Path]) -> None:
    ours = captioner(writer("vit_gpt2"))  # its generation_config.json says 3
    inputs = ours.prepare([clip(p) for p in PICTURES])
    asked, own = (ours.caption(inputs, GenerationOptions(max_new_tokens=6, num_beams=n)) for n in (3, None))
    assert asked == own


def test_the_score_is_the_mean_probability_of_the_tokens(writer: Callable[[str], Path]) -> None:
    ours = captioner(writer("git"))
    inputs = ours.prepare([clip(PICTURES[1])])
    pixels = torch.from_numpy(ours.pixel_values(inputs))
    found = ours.write(pixels.numpy(), np.array([[1]]), GREEDY)[0]
    with torch.no_grad():
        ids = torch.tensor([[1, *found.ids]])
        logits = ours.model(input_ids=ids, pixel_values=pixels).logits[0, -len(ids[0]) : -1]
    chances = logits.log_softmax(-1)[range(len(found.ids)), found.ids]
    assert len(found.ids) == 6  # nothing ended it, so the end is no token of it
    assert found.score == pytest.approx(float(chances.mean().exp()), rel=1e-4)  # cached steps against one pass


@pytest.mark.parametrize("name", FIXED)
def test_a_batch_says_what_singles_say(name: str, writer: Callable[[str], Path]) -> None:
    ours, options = captioner(writer(name)), GenerationOptions(max_new_tokens=5, num_beams=2)
    clips = [clip(p) for p in PICTURES]
    singles = [ours.caption(ours.prepare([c]), options, prefix="a dog")[0] for c in clips]
    together = ours.caption(ours.prepare(clips), options, prefix="a dog")
    assert [t.text for t in together] == [s.text for s in singles]
    assert [t.score for t in together] == pytest.approx([s.score for s in singles], rel=1e-4)  # other blocking of sums


def test_repetition_options_do_what_they_are_called_for(writer: Callable[[str], Path]) -> None:
    ours = captioner(writer("vit_gpt2"))
    pixels = ours.pixel_values(ours.prepare([clip(PICTURES[0])]))
    free = ours.write(pixels, np.array([[1]]), GenerationOptions(max_new_tokens=8, num_beams=1))[0].ids
    once = ours.write(
        pixels, np.array([[1]]), GenerationOptions(max_new_tokens=8, num_beams=1, no_repeat_ngram_size=1)
    )[0].ids
    assert len(set(free)) < len(free) and len(set(once)) == len(once)


def test_threads_are_of_the_call_and_of_nothing_else(writer: Callable[[str], Path]) -> None:
    before = torch.get_num_threads()
    ours, other = (captioner(writer("git"), threads=n) for n in (1, None))
    inputs = ours.prepare([clip(PICTURES[0])])
    assert ours.caption(inputs, GREEDY)[0].text == other.caption(inputs, GREEDY)[0].text
    assert torch.get_num_threads() == before
    assert ours.run(torch.get_num_threads) == 1


# Chat models


@pytest.mark.parametrize("name", CHAT)
def test_a_chat_model_writes_what_a_direct_call_writes(name: str, writer: Callable[[str], Path]) -> None:
    folder = writer(name)
    ours = captioner(folder)
    with silence_transformers():
        model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
        processor = ours.processor
        text = ours.format_prompt(1, "what is on the table")
        inputs = processor(
            text=[text], images=[[Image.fromarray(PICTURES[0])]], return_tensors="pt",
            add_special_tokens=not text.startswith("<s>"),
        )  # fmt: skip
        with torch.no_grad():
            direct = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    new = direct[0, inputs["input_ids"].shape[1] :].tolist()
    found = ours.reply([([PICTURES[0]], "what is on the table")], GREEDY)[0]
    ends = {2, 5} if name.startswith("qwen") else {2}
    assert found.text == ours.tokenizer.decode([t for t in new if t not in ends], skip_special_tokens=True).strip()


@pytest.mark.parametrize("name", ["llava", "idefics3", "qwen2_5_vl"])
def test_replies_in_a_batch_padded_on_the_left_are_those_of_singles(name: str, writer: Callable[[str], Path]) -> None:
    ours = captioner(writer(name))
    requests = [([PICTURES[0]], "what is on the table"), ([PICTURES[2], PICTURES[1]], "how many"), ([PICTURES[1]], "a")]
    singles = [ours.reply([request], GREEDY)[0] for request in requests]
    together = ours.reply(requests, GREEDY)
    assert [t.text for t in together] == [s.text for s in singles]
    assert [t.score for t in together] == pytest.approx([s.score for s in singles], rel=1e-3)  # padding shifts sums


@pytest.mark.parametrize("name", ["llava", "qwen2_vl"])
def test_a_chat_model_goes_on_from_a_prefix(name: str, writer: Callable[[str], Path]) -> None:
    ours = captioner(writer(name))
    assert ours.format_prompt(1, "how", "A photo of").endswith("A photo of")
    found = ours.caption(ours.prepare([clip(PICTURES[0])]), GREEDY, prefix="A photo of ")
    assert found[0].text.startswith("A photo of")


def test_a_model_whose_settings_sample_says_the_same_twice(writer: Callable[[str], Path]) -> None:
    ours = captioner(writer("qwen2_vl"))  # do_sample, temperature, top_k and top_p in its generation_config.json
    inputs = ours.prepare([clip(PICTURES[0])])
    assert ours.caption(inputs, GREEDY) == ours.caption(inputs, GREEDY)


@pytest.mark.parametrize("beams", [1, 2])
def test_fuyu_writes_what_a_direct_call_writes_and_a_batch_what_singles_write(
    beams: int, writer: Callable[[str], Path]
) -> None:
    ours, options = captioner(writer("fuyu")), GenerationOptions(max_new_tokens=7, num_beams=beams)
    clips = [
        clip(np.resize(p, shape)) for p, shape in zip(PICTURES, [(60, 90, 3), (29, 31, 3), (200, 300, 3)], strict=True)
    ]
    singles = [ours.caption(ours.prepare([c]), options, prefix="a photo of")[0] for c in clips]
    together = ours.caption(ours.prepare(clips), options, prefix="a photo of")
    assert [t.text for t in together] == [s.text for s in singles]
    assert all(single.text.startswith("a photo of") for single in singles)

    pixels = clips[0].data[0].reshape(2, 30, 3, 30, 3).swapaxes(1, 2).reshape(6, -1) / 255
    asked = ours.tokenizer("Generate a coco-style caption.\n<0x04>", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[3, 3, 3, 4, 3, 3, 3, 4, 1, *asked]])  # two rows of three patches, each with its newline
    with silence_transformers(), torch.no_grad():
        model = transformers.FuyuForCausalLM.from_pretrained(writer("fuyu")).eval()
        given = torch.tensor((pixels - 0.5) / 0.5, dtype=torch.float32).repeat(beams, 1)
        direct = model.generate(input_ids=ids, pixel_values=given, max_new_tokens=7, num_beams=beams)[0]
    new = [token for token in direct[ids.shape[1] :].tolist() if token not in (0, 2)]
    assert (
        ours.caption(ours.prepare(clips[:1]), options)[0].text
        == ours.tokenizer.decode(new, skip_special_tokens=True).strip()
    )


# What cannot be


def test_options_are_checked() -> None:
    for wrong in ({"num_beams": 0}, {"max_new_tokens": 0}, {"repetition_penalty": 0.0}, {"no_repeat_ngram_size": -1}):
        with pytest.raises(ValueError, match=f"expected {next(iter(wrong))}"):
            GenerationOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="banana"):
        GenerationOptions(banana=1)  # type: ignore[call-arg]


def test_a_prompt_for_a_model_that_follows_none_and_a_prefix_without_end_are_refused(
    writer: Callable[[str], Path],
) -> None:
    ours = captioner(writer("blip"))
    inputs = ours.prepare([clip(PICTURES[0])])
    with pytest.raises(QuestionError, match="not a chat model"):
        ours.caption(inputs, GREEDY, prompt="describe this")
    with pytest.raises(QuestionError, match="reads at most 64"):
        ours.caption(inputs, GREEDY, prefix="a photo of the cat " * 60)


def test_a_model_of_no_family_and_one_trained_for_something_else_are_named(writer: Callable[[str], Path]) -> None:
    with pytest.raises(UnknownModel, match=r"for model_type 'layoutlm'.*there are: .*blip.*qwen2_vl"):
        resolve_model(str(writer("layoutlm")), CAPTION)
    with pytest.raises(
        UnknownModel, match=r"trained as BlipForQuestionAnswering.*must be BlipForConditionalGeneration"
    ):
        resolve_model(str(writer("blip_vqa")), CAPTION)
    with pytest.raises(UnknownModel, match="Hugging Face id"):
        resolve_model("no-such-model", CAPTION)
