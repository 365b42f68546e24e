"""Answers are what transformers' own models say to the same question on the same picture or page."""

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

from percepts.errors import MediaError, QuestionError
from percepts.types import Clip
from percepts.vlm.documents.page import Word, parse_words, scale_box
from percepts.vlm.families import ASK, ASK_DOCUMENT, load_model, resolve_model
from percepts.vlm.generation import GenerationOptions
from percepts.weights.pretrained import silence_transformers

PICTURES = [np.ascontiguousarray(np.resize(p, (40, 61, 3))) for p in pictures()[:3]]
QUESTION = "how many cat on the table"
SHORT = GenerationOptions(max_new_tokens=5, num_beams=1)


def clips(pages: list[np.ndarray]) -> list[Clip]:
    return [Clip(page[None], "image", 0.0) for page in pages]


def answerer(folder: Path) -> Any:
    return load_model(resolve_model(str(folder), ASK, ASK_DOCUMENT))


def test_blip_answers_what_a_direct_call_answers(writer: Callable[[str], Path]) -> None:
    folder = writer("blip_vqa")
    ours = answerer(folder)
    with silence_transformers():
        model = transformers.BlipForQuestionAnswering.from_pretrained(folder).eval()
        pixels = transformers.BlipImageProcessorPil.from_pretrained(folder)(
            Image.fromarray(PICTURES[0]), return_tensors="pt"
        )["pixel_values"]
        ids = ours.tokenizer(QUESTION, return_tensors="pt")["input_ids"]
        direct = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, max_new_tokens=5
        )
    found = ours.answer(ours.prepare(clips(PICTURES[:1])), QUESTION, SHORT)[0]
    assert found.text == ours.tokenizer.decode(direct[0, 1:], skip_special_tokens=True).strip()


def test_git_goes_on_after_the_question(writer: Callable[[str], Path]) -> None:
    folder = writer("git")
    ours = answerer(folder)
    with silence_transformers():
        model = transformers.GitForCausalLM.from_pretrained(folder).eval()
        pixels = transformers.CLIPImageProcessorPil.from_pretrained(folder)(
            Image.fromarray(PICTURES[0]), return_tensors="pt"
        )["pixel_values"]
        ids = [1, *ours.tokenizer(QUESTION, add_special_tokens=False)["input_ids"]]
        direct = model.generate(pixel_values=pixels, input_ids=torch.tensor([ids]), max_new_tokens=5)
    found = ours.answer(ours.prepare(clips(PICTURES[:1])), QUESTION, SHORT)[0]
    assert found.text == ours.tokenizer.decode(direct[0, len(ids) :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("shape", [(40, 61), (90, 41), (200, 40), (33, 33)])
def test_vilt_sees_and_says_what_transformers_does(shape: tuple[int, int], writer: Callable[[str], Path]) -> None:
    folder = writer("vilt")
    ours = answerer(folder)
    picture = np.ascontiguousarray(np.resize(PICTURES[0], (*shape, 3)))
    state = torch.random.get_rng_state()
    inputs = ours.prepare(clips([picture]))
    logits = ours.logits(inputs, list(ours.tokenizer(QUESTION)["input_ids"]))
    assert torch.equal(state, torch.random.get_rng_state())  # its network draws at random; nobody else notices
    with silence_transformers():
        model = transformers.ViltForQuestionAnswering.from_pretrained(folder).eval()
        seen = transformers.ViltImageProcessorPil.from_pretrained(folder)(Image.fromarray(picture), return_tensors="pt")
        with torch.no_grad():
            direct = model(**seen, **ours.tokenizer(QUESTION, return_tensors="pt")).logits
    assert seen["pixel_values"].shape[2:] == inputs["pixels"].shape[1:3]
    torch.testing.assert_close(logits, direct, atol=1e-4, rtol=1e-4)  # the order of patches is drawn at random
    answer = ours.answer(inputs, QUESTION, SHORT)[0]
    assert answer.text == ["yes", "no", "1", "2", "red", "blue"][int(direct.argmax())]
    assert answer.score == pytest.approx(float(direct.sigmoid().max()), rel=1e-4)


@pytest.mark.parametrize("name", ["blip_vqa", "git", "vilt"])
def test_a_batch_answers_what_singles_answer(name: str, writer: Callable[[str], Path]) -> None:
    ours = answerer(writer(name))
    singles = [ours.answer(ours.prepare([clip]), QUESTION, SHORT)[0] for clip in clips(PICTURES)]
    together = ours.answer(ours.prepare(clips(PICTURES)), QUESTION, SHORT)
    assert [t.text for t in together] == [s.text for s in singles]
    assert [t.score for t in together] == pytest.approx([s.score for s in singles], rel=1e-4)  # other blocking of sums


@pytest.mark.parametrize("name", ["blip_vqa", "git", "vilt", "donut", "qwen2_vl"])
def test_a_question_of_300_words_is_refused(name: str, writer: Callable[[str], Path]) -> None:
    ours = answerer(writer(name))
    with pytest.raises(QuestionError, match="reads at most"):
        ours.answer(ours.prepare(clips(PICTURES[:1])), "how many cat on the table " * 100, SHORT)


@pytest.mark.parametrize("name", ["blip_vqa", "git", "donut", "qwen2_vl"])
def test_more_words_than_a_model_has_places_for_are_refused_before_the_first(
    name: str, writer: Callable[[str], Path]
) -> None:
    ours = answerer(writer(name))
    with pytest.raises(QuestionError, match=r"reads at most [0-9]+ tokens, got .* of [0-9]+"):
        ours.answer(ours.prepare(clips(PICTURES[:1])), QUESTION, GenerationOptions(max_new_tokens=10_000))


# Pages

WORDS = [
    Word("cat", (10, 10, 60, 30)), Word("piano", (70, 10, 150, 30)), Word("rain", (10, 50, 80, 70)),
    Word("tree", (90, 50, 150, 70)), Word("dog", (10, 90, 250, 120)),  # over the edge of the page
]  # fmt: skip
PAGE = np.ascontiguousarray(np.resize(PICTURES[1], (150, 200, 3)))


def direct_layoutlm(folder: Path, ours: Any) -> tuple[np.ndarray, np.ndarray, list[int | None]]:
    """As transformers' pipeline has it: the box of the separators is all 1000."""
    made = ours.tokenizer(
        QUESTION.split(),
        [w.text for w in WORDS],
        is_split_into_words=True,
        return_token_type_ids=True,
        return_tensors="pt",
    )
    boxes = [
        scale_box(WORDS[word].box, 150, 200) if side == 1 else (1000,) * 4 if token == 2 else (0,) * 4
        for token, side, word in zip(made["input_ids"][0], made.sequence_ids(0), made.word_ids(0), strict=True)
    ]
    with silence_transformers(), torch.no_grad():
        model = transformers.LayoutLMForQuestionAnswering.from_pretrained(folder).eval()
        found = model(**made, bbox=torch.tensor([boxes]))
    words = [w if s == 1 else None for w, s in zip(made.word_ids(0), made.sequence_ids(0), strict=True)]
    return found.start_logits[0].numpy(), found.end_logits[0].numpy(), words


def direct_layoutlmv3(folder: Path, ours: Any) -> tuple[np.ndarray, np.ndarray, list[int | None]]:
    with silence_transformers(), torch.no_grad():
        tokenizer = transformers.LayoutLMv3Tokenizer.from_pretrained(folder)
        boxes = [list(scale_box(w.box, 150, 200)) for w in WORDS]
        made = tokenizer("a b", [w.text for w in WORDS], boxes=boxes, return_tensors="pt")
        pixels = transformers.LayoutLMv3ImageProcessorPil.from_pretrained(folder)(
            Image.fromarray(PAGE), return_tensors="pt"
        )
        model = transformers.LayoutLMv3ForQuestionAnswering.from_pretrained(folder).eval()
        found = model(**made, pixel_values=pixels["pixel_values"])
    words = [w if s == 1 else None for w, s in zip(made.word_ids(0), made.sequence_ids(0), strict=True)]
    count = len(words)  # the patches of the page come after the words
    return found.start_logits[0, :count].numpy(), found.end_logits[0, :count].numpy(), words


@pytest.mark.parametrize(
    ("name", "direct", "asked"), [("layoutlm", direct_layoutlm, QUESTION), ("layoutlmv3", direct_layoutlmv3, "a b")]
)
def test_a_page_is_read_as_by_a_direct_call(name: str, direct: Any, asked: str, writer: Callable[[str], Path]) -> None:
    ours = answerer(writer(name))
    start, stop, words = direct(writer(name), ours)
    (chunk,) = ours.split_page(150, 200, WORDS, asked)
    assert chunk.words == words
    found = ours.logits(PAGE, chunk)
    np.testing.assert_allclose(found[0], start, atol=1e-5)  # another order of sums
    np.testing.assert_allclose(found[1], stop, atol=1e-5)
    answer = ours.answer(ours.prepare_page(PAGE, WORDS), asked, SHORT)[0]
    runs = {" ".join(w.text for w in WORDS[i : j + 1]): WORDS[i : j + 1] for i in range(5) for j in range(i, 5)}
    boxes = [w.box for w in runs[answer.text]]
    assert answer.box == (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )
    assert 0 < answer.score < 1


def test_the_score_of_a_page_is_that_of_the_pipeline(writer: Callable[[str], Path]) -> None:
    from transformers.pipelines.document_question_answering import select_starts_ends

    ours = answerer(writer("layoutlm"))
    (chunk,) = ours.split_page(150, 200, WORDS, QUESTION)
    start, stop = ours.logits(PAGE, chunk)
    mask = np.array([[word is None for word in chunk.words]], int)
    mask[0, 0] = 0  # the class token, as the pipeline has it
    firsts, lasts, scores, _ = select_starts_ends(start[None], stop[None], mask[0], None)
    score, first, last = ours._find_best_span(chunk, start, stop)
    assert (chunk.words[firsts[0]], chunk.words[lasts[0]]) == (first, last)
    assert score == pytest.approx(float(scores[0]), rel=1e-5)


def test_a_page_longer_than_the_model_reads_is_read_in_parts(writer: Callable[[str], Path]) -> None:
    ours = answerer(writer("layoutlm"))
    words = [Word("cat", (i, i, i + 5, i + 5)) for i in range(100)]
    chunks = list(ours.split_page(150, 200, words, QUESTION))
    seen = [word for chunk in chunks for word in chunk.words if word is not None]
    assert len(chunks) > 2 and set(seen) == set(range(100)) and all(len(chunk.ids) <= 48 for chunk in chunks)
    assert ours.answer(ours.prepare_page(PAGE, words), QUESTION, SHORT)[0].text.startswith("cat")


def test_boxes_are_put_on_the_grid_by_us() -> None:
    assert scale_box((0, 0, 200, 150), 150, 200) == (0, 0, 1000, 1000)
    assert scale_box((-5, 10, 250, 170), 150, 200) == (0, 66, 1000, 1000)  # over the edge; beyond 1000 is an IndexError
    for wrong in ((60, 10, 10, 30), (0, 0, float("nan"), 1)):
        with pytest.raises(MediaError, match="left, top, right, bottom"):
            scale_box(wrong, 150, 200)


def test_words_are_taken_as_they_are_given() -> None:
    word = Word("a", (1.0, 2.0, 3.0, 4.0))
    assert parse_words([word, ("a", (1, 2, 3, 4)), {"text": "a", "box": [1, 2, 3, 4]}]) == [word] * 3
    for wrong in ("a", ("a", 5), {"text": "a"}, ("a", (1, 2, 3))):
        with pytest.raises(QuestionError, match="expected words as"):
            parse_words([wrong])


def test_a_page_without_words_is_named(writer: Callable[[str], Path]) -> None:
    with pytest.raises(MediaError, match="no words on the page"):
        answerer(writer("layoutlm")).prepare_page(PAGE, [])


def test_donut_writes_what_a_direct_call_writes(writer: Callable[[str], Path]) -> None:
    folder = writer("donut")
    ours = answerer(folder)
    prompt = f"<s_docvqa><s_question>{QUESTION}</s_question><s_answer>"
    with silence_transformers():
        model = transformers.VisionEncoderDecoderModel.from_pretrained(folder).eval()
        pixels = transformers.DonutImageProcessorPil.from_pretrained(folder)(Image.fromarray(PAGE), return_tensors="pt")
        ids = ours.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        direct = model.generate(pixels["pixel_values"], decoder_input_ids=ids, max_new_tokens=5, do_sample=False)
    found = ours.answer(ours.prepare(clips([PAGE])), QUESTION, SHORT)[0]
    text = ours.tokenizer.decode(direct[0, ids.shape[1] :]).split("</s_answer>")[0]
    for mark in ("</s>", "<s>", "<pad>", "<unk>"):
        text = text.replace(mark, "")
    assert found.text == text.strip() or "<" in text  # other tags of its vocabulary are taken out too
    assert found.box is None


def test_words_of_a_page_are_read_by_ocr() -> None:
    pytest.importorskip("rapidocr")
    from PIL import ImageDraw, ImageFont

    from percepts.vlm.documents.ocr import read_words

    page = Image.new("RGB", (500, 160), "white")
    draw = ImageDraw.Draw(page)
    draw.text((40, 30), "INVOICE number 4711", fill="black", font=ImageFont.load_default(28))
    draw.text((40, 100), "Total $1,250.50", fill="black", font=ImageFont.load_default(28))
    words = read_words(np.asarray(page))
    assert [word.text for word in words] == ["INVOICE", "number", "4711", "Total", "$1,250.50"]
    left, top, right, bottom = words[3].box
    assert 35 < left < 50 and 95 < top < 112 and 95 < right < 125 and 118 < bottom < 145
    assert read_words(np.full((80, 80, 3), 255, np.uint8)) == []
