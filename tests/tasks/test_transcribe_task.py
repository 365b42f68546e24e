"""From a file to what is said in it: any medium, any length, any speakers, and what cannot be used is named."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from need_weights import need_weights
from synth import write_film

from percepts.diarization.embeddings import DiarizerOutput
from percepts.errors import MediaError, MissingExtra, NotMedia, OptionsError, UnknownModel, WeightsError
from percepts.jobs.run import run
from percepts.media import probe
from percepts.speech import loading
from percepts.speech.fake import RATE, FakeCTC, spell
from percepts.speech.loading import choose_engine, load_engine
from percepts.speech.options import TranscribeOptions
from percepts.speech.results import TranscribeProgress
from percepts.tasks import transcribe as module
from percepts.tasks.diarizer import Diarizer
from percepts.tasks.transcribe import TranscribeTask, transcribe, transcribe_iter
from percepts.types import Clip, Segment

DATA = Path(__file__).parents[1] / "data"
TEXT = "ask not what your country can do for you"


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def spelled() -> bytes:
    return wav(np.concatenate([spell(f"{TEXT} ", 0.5, 5.0), spell("ask what you can do", 1.5, 5.0)]))


def test_what_is_said_is_written_with_its_times(spelled):
    found = transcribe(spelled, "fake-ctc", vad=None)
    assert found.text == f"{TEXT.upper()} ASK WHAT YOU CAN DO"
    first, second = found.segments
    assert (first.start, second.start) == (0.5, 6.5)  # whole frames of 20 ms
    assert [word.text.strip() for word in first.words] == TEXT.upper().split()
    assert all(a.stop <= b.start for a, b in pairwise(first.words))
    assert (found.duration, found.duration_speech, found.notes) == (10.0, None, ())


def test_an_engine_may_be_given_and_segments_come_as_they_are_known(spelled):
    got = transcribe_iter(spelled, FakeCTC(), vad="energy")
    first = next(got)
    assert first.text.startswith("ASK NOT") and "ASK WHAT" not in first.text
    assert [segment.text for segment in got][-1].endswith("CAN DO")


def test_no_speech_is_an_empty_transcript(spelled):
    found = transcribe(wav(np.zeros(3 * RATE)), "fake-ctc", vad="energy")
    assert (found.segments, found.text, found.duration, found.duration_speech) == ((), "", 3.0, 0.0)


def test_the_sound_of_a_film_is_transcribed_and_one_without_is_named(tmp_path):
    sound = np.repeat(spell("in a film ", 0.5, 2.0), 3)[None]
    with_sound = write_film(tmp_path / "a.mkv", sound=sound, sound_codec="pcm_s16le")
    without = write_film(tmp_path / "b.mp4")
    assert transcribe(with_sound, "fake-ctc", vad=None).text == "IN A FILM"
    with pytest.raises(NotMedia, match="no audio stream"):
        transcribe(without, "fake-ctc", vad=None)


def test_of_a_damaged_recording_the_good_part_is_transcribed(spelled, caplog):
    found = transcribe(spelled[: len(spelled) // 2], "fake-ctc", vad=None)
    assert found.text == TEXT.upper() and found.duration == pytest.approx(5.0, abs=0.01)
    assert len(found.notes) == 1 and "decoded" in caplog.text


def test_progress_is_told_as_the_sound_is_heard(spelled):
    seen = []
    long = wav(np.tile(spell("so on", 0.1, 5.0), 8))
    transcribe(long, "fake-ctc", vad="energy", on_progress=lambda trace: seen.append(trace.heard))
    assert seen == sorted(seen) and len(seen) == 4 and seen[-1] > 20


class TwoVoices(Diarizer):
    """Ann until the fifth second, then Ben; the sound it was given is what the engine got."""

    def diarize(self, sound):
        total = sum(clip.duration for clip in sound)
        turns = (Segment(0, total / 2, "", speaker="Ann"), Segment(total / 2, total, "", speaker="Ben"))
        return DiarizerOutput(total, turns, {})


def test_every_word_has_a_speaker_and_segments_end_where_the_speaker_changes(spelled):
    trace = TranscribeProgress()
    task = TranscribeTask(FakeCTC(), vad=None, diarizer=TwoVoices())
    blocks = [Clip(soundfile.read(io.BytesIO(spelled), dtype="float32")[0][None], "audio", RATE)]
    found = list(task.transcribe_blocks(blocks, trace))
    assert [segment.speaker for segment in found] == ["Ann", "Ben"]
    assert all(word.speaker == segment.speaker for segment in found for word in segment.words)


def test_three_real_voices_share_the_words_in_one_pass_over_the_file():
    need_weights("silero", "ge2e")
    found = transcribe(DATA / "conversation.flac", FakeCTC(), diarize=True)  # what it hears in voices is no language
    assert len({segment.speaker for segment in found.segments}) == 3
    assert all(word.speaker == segment.speaker for segment in found.segments for word in segment.words)


def test_a_task_is_a_job_of_texts(spelled, tmp_path):
    (tmp_path / "talk.wav").write_bytes(spelled)
    task = TranscribeTask(choose_engine("fake-ctc"), vad=None)
    notes: list[str] = []
    rows = list(task.process_source(tmp_path / "talk.wav", probe(tmp_path / "talk.wav"), notes))
    assert [row.text for row in rows] == [TEXT.upper(), "ASK WHAT YOU CAN DO"] and not notes
    assert rows[0].words and rows[0].model == "fake-ctc" == task.specs[0].name
    json.dumps(task.settings())


@pytest.mark.parametrize("model", [choose_engine("fake-ctc"), FakeCTC()], ids=["by name", "an engine"])
def test_what_a_model_cannot_do_ends_a_job_before_it_is_one(spelled, tmp_path, model):
    (tmp_path / "talk.wav").write_bytes(spelled)
    task = TranscribeTask(model, TranscribeOptions(task="translate"), vad=None)
    with pytest.raises(OptionsError, match="does not support translation"):
        run(task, tmp_path / "talk.wav", tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_batches_without_a_detector_end_a_job_before_it_is_one(spelled, tmp_path):
    (tmp_path / "talk.wav").write_bytes(spelled)
    whisper = checkpoint(tmp_path / "w", model_type="whisper")
    task = TranscribeTask(choose_engine(whisper), TranscribeOptions(batch_size=4), vad=None)
    with pytest.raises(OptionsError, match="batch_size 4 needs a detector of speech"):
        run(task, tmp_path / "talk.wav", tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_settings_hold_all_that_changes_a_transcript_and_nothing_else():
    def settings(**options):
        return TranscribeTask(choose_engine("fake-ctc"), TranscribeOptions(**options)).settings()

    assert settings(batch_size=4) == settings(batch_size=8) != settings(batch_size=1)
    assert settings(beam=1) != settings(beam=5)
    assert TranscribeTask(choose_engine("fake-ctc"), vad=None).settings() != settings()
    assert TranscribeTask(choose_engine("fake-ctc"), diarizer=Diarizer()).settings() != settings()


def test_a_picture_says_nothing_and_why(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    task, medium = TranscribeTask(choose_engine("fake-ctc")), probe(tmp_path / "a.png")
    assert list(task.process_source(tmp_path / "a.png", medium, [])) == []
    assert task.explain_empty(medium) == "is image without sound"
    with pytest.raises(MediaError):
        transcribe(tmp_path / "a.png", "fake-ctc")


# Models


def checkpoint(folder: Path, **config) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")
    return str(folder)


def test_the_family_of_a_checkpoint_says_which_engine_runs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: True)
    whisper = checkpoint(tmp_path / "w", model_type="whisper")
    assert choose_engine(whisper).engine == "transformers"
    assert choose_engine(whisper, "ctranslate2").engine == "ctranslate2"
    assert choose_engine(checkpoint(tmp_path / "h", model_type="hubert")).engine == "ctc"
    (tmp_path / "ct2").mkdir()
    for name in ("config.json", "model.bin"):
        (tmp_path / "ct2" / name).write_text("{}")
    assert choose_engine(str(tmp_path / "ct2")).engine == "ctranslate2"
    assert choose_engine("sphinx") == loading.EngineChoice("sphinx", "sphinx")


def test_a_model_that_does_not_transcribe_is_named_with_those_that_do(tmp_path):
    clip = checkpoint(tmp_path / "clip", model_type="clip")
    for model, engine in ((clip, None), ("effnet-lite0", None), (checkpoint(tmp_path / "x"), None)):
        with pytest.raises(UnknownModel, match=r"whisper .*wav2vec2 or hubert or wavlm.*sphinx"):
            choose_engine(model, engine)
    with pytest.raises(UnknownModel, match=r"no engine called 'kaldi'.*transformers"):
        choose_engine(clip, "kaldi")
    with pytest.raises(UnknownModel, match="expected"):
        choose_engine(checkpoint(tmp_path / "w2", model_type="whisper"), "ctc")
    with pytest.raises(WeightsError, match=r"no config|without config"):
        choose_engine(str(tmp_path))


def test_an_engine_that_is_not_installed_says_the_cure(monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'percepts\[sphinx\]'"):
        load_engine("sphinx")


def test_without_a_model_the_one_that_is_here_is_used_and_its_errors_are_told(monkeypatch, caplog):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UnknownModel, match=r"percepts\[sphinx\]"):
        transcribe(b"", None)
    monkeypatch.setattr(module, "find_spec", lambda name: True)
    monkeypatch.setattr(loading, "find_spec", lambda name: True)
    assert module.choose_model(None).name == "sphinx"
    assert "four words in ten wrong" in caplog.text
