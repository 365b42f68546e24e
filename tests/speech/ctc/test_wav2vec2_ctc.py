"""CTC checkpoints: emissions and words equal to transformers' on the same weights, and what is none is told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny  # the tests of encoders have the checkpoints
import torch
import transformers

from percepts.errors import UnknownModel, WeightsError
from percepts.speech.ctc.decode import BestPath, Chunking, compute_emissions, decode_words
from percepts.speech.ctc.wav2vec2 import Wav2Vec2CTC
from percepts.speech.engines import CTCEngine
from percepts.types import Clip

KINDS = [("Wav2Vec2", "group"), ("Wav2Vec2", "layer"), ("Hubert", "group"), ("WavLM", "group")]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.ctc(tmp_path_factory.mktemp("ctc") / "tiny")


def theirs(folder: Path, kind: str, wave: np.ndarray):
    """Processor, model and decoding as the model cards show them: logits, and words with their frames."""
    model = getattr(transformers, f"{kind}ForCTC").from_pretrained(folder).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = model(extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values).logits[0]
    found = tokenizer.decode(logits.argmax(-1), output_word_offsets=True)
    return logits.log_softmax(-1).numpy(), found


@pytest.mark.parametrize(("kind", "norm"), KINDS)
def test_emissions_are_those_of_transformers(tmp_path, kind, norm):
    folder = tiny.ctc(tmp_path / "tiny", kind, norm)
    engine = Wav2Vec2CTC(str(folder))
    assert isinstance(engine, CTCEngine) and engine.samples_per_frame == 20 and engine.vocabulary == tiny.LETTERS
    for wave in (tiny.sounds()[2][:12_321], tiny.sounds()[4]):
        expected, _ = theirs(folder, kind, wave)
        found = engine.emissions(wave)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5)  # float32, other order of sums in the convolutions


def test_words_are_those_of_transformers(folder):
    """Random weights spell nonsense, with all letters, repeats, blanks and delimiters in it."""
    engine = Wav2Vec2CTC(str(folder))
    logprobs, _ = theirs(folder, "Wav2Vec2", tiny.sounds()[2])
    noise = np.random.default_rng(0).gumbel(size=logprobs.shape) * 3  # or a single letter would win all frames
    logprobs = logprobs + noise.astype(np.float32)
    logprobs[:, 1:4] = -9.0  # <s> </s> <unk>, which theirs writes out
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder)
    found = tokenizer.decode(logprobs.argmax(-1), output_word_offsets=True)
    best = BestPath()
    best.append(logprobs)
    ours = list(decode_words(best, engine))
    assert "".join(word.text for word in ours).split() == found.text.split() and len(ours) > 20
    step = engine.samples_per_frame / engine.rate
    theirs_ = [w for w in found.word_offsets if w["word"].strip()]
    assert [(round(w.start / step), round(w.stop / step)) for w in ours] == [
        (w["start_offset"], w["end_offset"]) for w in theirs_
    ]


def test_one_chunk_is_the_whole_and_chunks_have_its_frames(folder):
    engine = Wav2Vec2CTC(str(folder))
    wave = np.random.default_rng(2).standard_normal(30_123).astype(np.float32) * 0.1
    clip = Clip(wave[None], "audio", 16_000.0)
    whole = np.concatenate(list(compute_emissions(engine, [clip], Chunking(20.0))))
    assert np.array_equal(whole, engine.emissions(wave))
    parts = np.concatenate(list(compute_emissions(engine, [clip], Chunking(1.0, 0.25))))
    assert parts.shape == whole.shape  # attention sees the chunk only, so numbers are near and not equal


def test_a_breath_of_sound_is_filled_up(folder):
    assert Wav2Vec2CTC(str(folder)).emissions(np.zeros(1, np.float32)).shape == (1, 32)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda f: (f / "vocab.json").unlink(), WeightsError, "no vocab.json"),
        (lambda f: (f / "vocab.json").write_text('{"<pad>": 0, "A": 1}'), WeightsError, "names 2 tokens"),
        (lambda f: (f / "vocab.json").write_text('{"en": {"a": 0}, "de": {"b": 0}}'), WeightsError, "2 languages"),
        (lambda f: change_settings(f, pad_token="[BLANK]"), WeightsError, "the blank"),
    ],
)
def test_a_vocabulary_that_is_not_of_the_checkpoint_is_refused(folder, tmp_path, change, error, said):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    change(copy)
    with pytest.raises(error, match=said):
        Wav2Vec2CTC(str(copy))


def change_settings(folder: Path, **changes: object) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_models_of_other_families_and_without_a_head_are_refused(tmp_path):
    with pytest.raises(UnknownModel, match="lm_head"):
        Wav2Vec2CTC(str(tiny.wav2vec2(tmp_path / "headless")))
    with pytest.raises(UnknownModel, match="whisper checkpoint"):
        Wav2Vec2CTC(str(tiny.whisper(tmp_path / "whisper")))
    with pytest.raises(UnknownModel, match="no encoder called"):
        Wav2Vec2CTC("wav2vec9")
