"""Our loop and CTranslate2's against transformers' generate, on the same random weights: token by token."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_whisper import sounds, whisper_speaker

from percepts.errors import WeightsError
from percepts.preprocess.mel import whisper_log_mel
from percepts.speech.engines import DecodingOptions, WhisperEngine
from percepts.speech.whisper.torch_engine import TorchWhisper
from percepts.weights import pretrained


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> TorchWhisper:
    return TorchWhisper(str(checkpoint), threads=1)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> transformers.WhisperForConditionalGeneration:
    with pretrained.silence_transformers():
        return transformers.WhisperForConditionalGeneration.from_pretrained(checkpoint).eval()


def prompt_of(engine: WhisperEngine, *, timestamps: bool = True) -> list[int]:
    tokens = engine.vocabulary
    assert tokens.transcribe is not None
    rest = [] if timestamps else [tokens.no_timestamps]
    return [tokens.sot, tokens.languages["en"], tokens.transcribe, *rest]


@pytest.mark.parametrize("timestamps", [True, False])
def test_greedy_tokens_are_those_of_generate(
    engine: TorchWhisper, model: transformers.WhisperForConditionalGeneration, mel: np.ndarray, timestamps: bool
) -> None:
    prompt = prompt_of(engine, timestamps=timestamps)
    search = DecodingOptions(beam=1, max_tokens=40, timestamps=timestamps)
    ours = engine.decode(engine.encode(mel), [prompt] * 3, search)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        theirs = model.generate(
            torch.from_numpy(mel), language="en", task="transcribe", return_timestamps=timestamps, max_new_tokens=40,
            do_sample=False, num_beams=1, force_unique_generate_call=True,
        )  # fmt: skip
    end = engine.vocabulary.eot
    expected = [tuple(token for token in row[len(prompt) :] if token != end) for row in theirs.tolist()]
    assert [decoded.tokens for decoded in ours] == expected
    assert len({decoded.tokens for decoded in ours}) > 1 or not timestamps  # the sounds are told apart


@pytest.mark.parametrize("beams", [2, 4])
@pytest.mark.parametrize("timestamps", [True, False])
def test_beams_are_those_of_generate_where_it_counts_what_may_not_come_as_nothing(
    engine: TorchWhisper, model: transformers.WhisperForConditionalGeneration, mel: np.ndarray, timestamps: bool,
    beams: int,
) -> None:  # fmt: skip
    prompt = prompt_of(engine, timestamps=timestamps)
    search = DecodingOptions(beam=beams, max_tokens=30, timestamps=timestamps)
    ours = engine.decode(engine.encode(mel), [prompt] * 3, search)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        # without renormalize_logits the probability of forbidden tokens is lost to a beam, which is not so in Whisper
        theirs = model.generate(
            torch.from_numpy(mel), language="en", task="transcribe", return_timestamps=timestamps, max_new_tokens=30,
            do_sample=False, num_beams=beams, early_stopping=True, renormalize_logits=True,
            force_unique_generate_call=True,
        )  # fmt: skip
    end = engine.vocabulary.eot
    expected = [tuple(token for token in row[len(prompt) :] if token != end) for row in theirs.tolist()]
    assert [decoded.tokens for decoded in ours] == expected


def test_the_score_is_the_sum_of_what_the_model_says(
    engine: TorchWhisper, model: transformers.WhisperForConditionalGeneration, mel: np.ndarray
) -> None:
    prompt = prompt_of(engine, timestamps=False)
    [decoded] = engine.decode(
        engine.encode(mel[:1]), [prompt], DecodingOptions(beam=1, max_tokens=12, timestamps=False)
    )
    said_so = torch.tensor([[*prompt, *decoded.tokens]])
    with torch.no_grad():
        logits = model(torch.from_numpy(mel[:1]), decoder_input_ids=said_so).logits[0]
    never = [*range(engine.vocabulary.eot + 1, engine.vocabulary.timestamps)]
    no_speech = logits[0].softmax(-1)[engine.vocabulary.no_speech]
    logits[:, never] = -torch.inf
    logits[len(prompt) - 1, engine.vocabulary.eot] = -torch.inf  # not at first
    said = logits.log_softmax(-1)[range(len(prompt) - 1, len(prompt) + 11), list(decoded.tokens)]
    assert decoded.sum_logprob == pytest.approx(float(said.sum()), abs=1e-3)  # float32, in another order
    assert decoded.no_speech_prob == pytest.approx(float(no_speech), rel=1e-4)


@pytest.mark.parametrize(
    "search",
    [
        DecodingOptions(beam=1, max_tokens=60),
        DecodingOptions(beam=4, max_tokens=30),
        DecodingOptions(temperature=0.7, best_of=3, max_tokens=30),
    ],
    ids=str,
)
def test_a_batch_is_its_rows(engine: TorchWhisper, mel: np.ndarray, search: DecodingOptions) -> None:
    prompt, states = prompt_of(engine), engine.encode(mel)
    together = engine.decode(states, [prompt] * 3, search)
    alone = [engine.decode(states[i : i + 1], [prompt], search)[0] for i in range(3)]
    assert [decoded.tokens for decoded in together] == [decoded.tokens for decoded in alone]
    again = engine.decode(states, [prompt] * 3, search)
    assert together == again  # draws too: they are seeded


def test_the_context_is_never_overrun(engine: TorchWhisper, mel: np.ndarray) -> None:
    tokens = engine.vocabulary
    prompt = [tokens.previous, *[5] * 223, *prompt_of(engine)]
    [decoded] = engine.decode(engine.encode(mel[:1]), [prompt], DecodingOptions(beam=1))
    assert len(prompt) + len(decoded.tokens) <= engine.context


def test_languages_are_detected_as_by_transformers(
    engine: TorchWhisper, model: transformers.WhisperForConditionalGeneration, mel: np.ndarray
) -> None:
    found = engine.detect_language(engine.encode(mel))
    with torch.inference_mode():
        expected = model.detect_language(torch.from_numpy(mel)).tolist()
    assert [engine.vocabulary.languages[max(row, key=row.__getitem__)] for row in found] == expected
    assert all(sum(row.values()) == pytest.approx(1) for row in found)


def test_threads_are_those_of_a_call_and_nobody_elses(checkpoint: Path, mel: np.ndarray) -> None:
    before = torch.get_num_threads()
    one = TorchWhisper(str(checkpoint), threads=1)
    assert one._call(torch.get_num_threads) == 1
    one.encode(mel)
    assert torch.get_num_threads() == before


def test_ctranslate2_gives_the_same_tokens_languages_and_times(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ctranslate2")
    from percepts.speech.whisper.ctranslate2_engine import CT2Whisper

    root = tmp_path_factory.mktemp("ct2")
    monkeypatch.setenv("PERCEPTS_CACHE", str(root / "cache"))
    folder, before = whisper_speaker(root / "tiny", seconds=30.0, encoder_layers=1), torch.get_num_threads()
    ours = TorchWhisper(str(folder), threads=1)
    theirs = CT2Whisper(str(folder), precision="float32", threads=1)
    assert isinstance(theirs, WhisperEngine) and torch.get_num_threads() == before
    prompt, mel = prompt_of(ours), whisper_log_mel(sounds(30.0)[1:])
    states = ours.encode(mel)
    np.testing.assert_allclose(theirs.encode(mel), states, atol=1e-4)  # values to 20: float32 in another order
    for search in (
        DecodingOptions(beam=1, max_tokens=40),
        DecodingOptions(beam=5, max_tokens=12),
        DecodingOptions(beam=1, max_tokens=60),
    ):
        mine, other = (one.decode(states, [prompt] * len(mel), search) for one in (ours, theirs))
        assert [decoded.tokens for decoded in mine] == [decoded.tokens for decoded in other]
        np.testing.assert_allclose([d.sum_logprob for d in mine], [d.sum_logprob for d in other], rtol=1e-4)
        np.testing.assert_allclose([d.no_speech_prob for d in mine], [d.no_speech_prob for d in other], rtol=1e-3)
    texts, frames = [[10, 20, 30], list(range(60, 100))], [1500, 400]
    for a, b in zip(*(one.align(states, prompt, texts, frames) for one in (ours, theirs)), strict=True):
        assert np.array_equal(a.tokens, b.tokens) and np.array_equal(a.frames, b.frames)
        np.testing.assert_allclose(a.probs, b.probs, atol=1e-6)
    for mine_, other_ in zip(*(one.detect_language(states) for one in (ours, theirs)), strict=True):
        assert mine_ == pytest.approx(other_, abs=1e-5)
    converted = next((root / "cache" / "ctranslate2").glob("*/model.bin")).parent
    again = CT2Whisper(str(converted), precision="float32")  # as a folder that somebody converted
    search = DecodingOptions(beam=1, max_tokens=10)
    assert again.decode(states, [prompt] * len(mel), search) == theirs.decode(states, [prompt] * len(mel), search)
    spelled = json.loads((converted / "vocabulary.json").read_text())
    spelled[ours.vocabulary.sot] = "<|9.99|>"  # as its converter invents them without a tokenizer
    (converted / "vocabulary.json").write_text(json.dumps(spelled))
    with pytest.raises(WeightsError, match="without its tokenizer"):
        CT2Whisper(str(converted))


def broken(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "broken"))


@pytest.mark.parametrize("damaged", ["model.bin", "tokenizer.json", "vocabulary.json", "config.json"])
def test_a_conversion_that_is_not_what_was_made_is_made_again(
    damaged: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("ctranslate2")
    from percepts.speech.whisper.ctranslate2_engine import CT2Whisper

    monkeypatch.setenv("PERCEPTS_CACHE", str(tmp_path / "cache"))
    CT2Whisper(str(checkpoint), precision="float32", threads=1)
    (folder,) = (path for path in (tmp_path / "cache/ctranslate2").iterdir() if path.is_dir())
    good = {path.name: path.read_bytes() for path in folder.iterdir()}
    data = bytearray(good[damaged])
    data[len(data) // 2] ^= 1
    (folder / damaged).write_bytes(data)
    CT2Whisper(str(checkpoint), precision="float32", threads=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == good
    assert "making it again" in caplog.text
    (folder / damaged).unlink()
    CT2Whisper(str(checkpoint), precision="float32", threads=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == good


def test_a_checkpoint_without_tokenizer_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = broken(checkpoint, tmp_path)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=r"tokenizer\.json is missing"):
        TorchWhisper(str(folder))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="expected a tokenizer"):
        TorchWhisper(str(folder))


def test_a_checkpoint_of_another_family_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = broken(checkpoint, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "wav2vec2"}))
    with pytest.raises(WeightsError, match="expected a Whisper checkpoint, got model_type 'wav2vec2'"):
        TorchWhisper(str(folder))


def test_the_tokenizer_of_another_model_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = broken(checkpoint, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 300}))
    with pytest.raises(WeightsError, match="belongs to another model"):
        TorchWhisper(str(folder))


def test_languages_are_found_without_generation_config(checkpoint: Path, tmp_path: Path) -> None:
    folder = broken(checkpoint, tmp_path)
    expected = TorchWhisper(str(folder)).vocabulary
    (folder / "generation_config.json").unlink()
    found = TorchWhisper(str(folder)).vocabulary
    assert (found.languages, found.translate) == (expected.languages, expected.translate)
