"""Faults of the file, of the model and of the machine are told apart; only the first is written in the ledger."""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import faulty
import pytest
import torch
from tables import Photos, ledger, rows
from toytasks import Colours

from percepts.encoders.builtin.fake import FakeImage
from percepts.errors import MachineError, WeightsError
from percepts.jobs.run import embed, run
from percepts.jobs.verify import verify
from percepts.support import machine
from percepts.support.machine import describe_machine_fault, is_out_of_memory, memory_limit
from percepts.tasks.classify import ClassifyTask
from percepts.tasks.transcribe import TranscribeTask

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("encoders", "decoders")]
import tiny
import tiny_whisper

HERE = Path(__file__).parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")


def nothing_is_written(out: Path) -> bool:
    return not (out / "manifest.json").exists() or not ledger(out)


# The model


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_checkpoint_ends_the_run_and_once_mended_everything_is_done(
    photos: Photos, tmp_path: Path, workers: int
) -> None:
    folder, out = photos(5), tmp_path / "v"
    checkpoint = tiny.vit(tmp_path / "vit")
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    with pytest.raises(WeightsError, match=r"model\.safetensors: it has .* bytes, and its header promises"):
        embed(folder, out, models=[str(checkpoint)], runtime="torch", workers=workers)
    assert nothing_is_written(out)
    weights.write_bytes(whole)
    report = embed(folder, out, models=[str(checkpoint)], runtime="torch", workers=workers)
    assert (report.done, report.failed) == (5, 0) and verify(out).ok


def test_a_head_of_the_wrong_shape_is_the_models(photos: Photos, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    checkpoint = tiny.vit(tmp_path / "vit", "ViTForImageClassification")
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["classifier.weight"] = tensors["classifier.weight"][:, :-1].copy()
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError):
        run(ClassifyTask.create(str(checkpoint)), photos(3), tmp_path / "v", workers=0)
    assert nothing_is_written(tmp_path / "v")


@pytest.mark.timeout(600)
def test_a_model_that_takes_sources_whole_fails_in_its_worker_and_no_source_is_to_blame(
    tmp_path: Path,
) -> None:
    import numpy as np
    import soundfile

    sound = tmp_path / "a.wav"
    soundfile.write(sound, np.random.default_rng(0).uniform(-0.1, 0.1, 16000), 16000)
    checkpoint = tiny_whisper.whisper_speaker(tmp_path / "whisper")
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    for workers in (0, 1):
        with pytest.raises(WeightsError, match="cannot be run"):
            run(TranscribeTask.create(str(checkpoint), vad=None), sound, tmp_path / f"v{workers}", workers=workers)
        assert nothing_is_written(tmp_path / f"v{workers}")


def test_a_run_with_nothing_new_loads_no_model(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FakeImage, inputs: object) -> None:
        raise OSError("the model cannot be read")

    folder = photos(3)
    embed(folder, tmp_path / "v", models=["fake-image"], workers=0)
    monkeypatch.setattr(FakeImage, "encode", broken)
    assert embed(folder, tmp_path / "v", models=["fake-image"], workers=0).unchanged == 3
    photos(4)
    with pytest.raises(WeightsError, match="the model cannot be read"):
        embed(folder, tmp_path / "v", models=["fake-image"], workers=0)
    assert len(ledger(tmp_path / "v")) == 3


def test_a_rehearsal_changes_no_bit_and_settles_no_runtime(photos: Photos, tmp_path: Path) -> None:
    from percepts.encoders import load_encoder
    from percepts.runtimes import defer_choice
    from percepts.types import Clip

    encoder = load_encoder(str(tiny.vit(tmp_path / "vit")))
    clips = [Clip(picture[None], "image", 0.0) for picture in tiny.pictures()]
    inputs = encoder.prepare(clips)  # type: ignore[attr-defined]
    with defer_choice():
        encoder.encode({name: value[:1] for name, value in inputs.items()})  # type: ignore[attr-defined]
    assert encoder._run._started is None  # type: ignore[attr-defined]
    fresh = load_encoder(str(tmp_path / "vit"))
    assert (encoder.encode(inputs).data == fresh.encode(inputs).data).all()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Failing(Colours):
    """It has no rehearsal, and its model fails on every picture."""

    def run_batch(self, model: str, inputs: object) -> list[dict[str, object]]:  # type: ignore[override]
        raise RuntimeError("no kernel image is available")


@pytest.mark.parametrize("count", [1, 2, 15])
def test_few_sources_that_fail_alike_are_each_to_blame(photos: Photos, tmp_path: Path, count: int) -> None:
    report = run(Failing(), photos(count), tmp_path / "v", workers=0, batch_size=4)
    assert report.failed == count and len(ledger(tmp_path / "v")) == count


def test_an_error_that_every_item_gives_is_not_an_items(photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"the first 16 sources all failed with RuntimeError.*no kernel image"):
        run(Failing(), photos(40), tmp_path / "v", workers=0, batch_size=8)
    assert nothing_is_written(tmp_path / "v")


def test_many_bad_files_before_a_good_one_are_still_bad_files(photos: Photos, tmp_path: Path) -> None:
    folder = photos(14, red=tuple(range(13)))
    report = embed(folder, tmp_path / "v", models=["test-raising"], workers=0, batch_size=2)
    assert (report.done, report.failed) == (1, 13) and verify(tmp_path / "v").ok
    assert len(rows(tmp_path / "v", "test-raising")) == 1


# The machine


class Unpicklable(Colours):
    """No worker can be told of it."""

    def __setstate__(self, state: object) -> None:
        raise ModuleNotFoundError("this is only here")


def test_workers_that_cannot_be_told_what_to_do_end_the_run_with_the_reason(photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"3 workers.*died before their first file.*this is only here"):
        run(Unpicklable(), photos(2), tmp_path / "v", workers=1)
    assert nothing_is_written(tmp_path / "v")


def limited(limit: str, folder: Path, out: Path, model: str = "fake-image") -> subprocess.CompletedProcess[str]:
    """A job in a shell with that `ulimit`, by any model of `faulty`, with one worker."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[3]); import faulty; from percepts.encoders import register_encoder\n"
        "for name in faulty.NAMES: register_encoder(faulty.spec(name))\n"
        "from percepts.jobs.run import embed\n"
        "report = embed(sys.argv[1], sys.argv[2], models=[sys.argv[4]], workers=1)\n"
        "print(report.done, report.failed)"
    )
    words = [f'ulimit {limit} && exec "$0" "$@"', sys.executable, "-c", code, str(folder), str(out), str(HERE), model]
    return subprocess.run(["bash", "-c", *words], capture_output=True, text=True, timeout=240)


@linux
@pytest.mark.parametrize("limit", ["-d 3000000", "-t 250", "-n 256"])
def test_a_hard_limit_of_the_machine_is_respected_and_all_files_are_done(
    photos: Photos, tmp_path: Path, limit: str
) -> None:
    done = limited(limit, photos(4), tmp_path / "v")
    assert done.stdout.split() == ["4", "0"], done.stderr


@linux
def test_a_worker_ended_at_the_machines_limit_of_cpu_blames_no_file(photos: Photos, tmp_path: Path) -> None:
    done = limited("-t 15", photos(4, red=(2,)), tmp_path / "v", "test-spinning")
    assert done.returncode == 1 and "MachineError" in done.stderr and "`ulimit -t`" in done.stderr, done
    assert "0002.png" not in ledger(tmp_path / "v")


def test_what_only_the_machine_can_cause_ends_the_run(photos: Photos, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Full(Colours):
        def run_batch(self, model: str, inputs: object) -> list[dict[str, object]]:  # type: ignore[override]
            raise OSError(errno.ENOSPC, "No space left on device", "/cache/graph.onnx")

    with pytest.raises(MachineError, match=r"/cache/graph\.onnx: No space left on device: free some space"):
        run(Full(), photos(2), tmp_path / "v", workers=0)
    assert nothing_is_written(tmp_path / "v")


# One definition of out of memory


def test_libraries_that_run_out_of_memory_are_understood() -> None:
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(1 << 50)
    assert is_out_of_memory(of_torch.value)
    with pytest.raises(MemoryError) as of_python:
        bytes(1 << 60)
    assert is_out_of_memory(of_python.value)
    assert is_out_of_memory(OSError(errno.EAGAIN, "Resource temporarily unavailable"))
    assert not is_out_of_memory(RuntimeError("red is not supported"))
    wrapped = ValueError("damaged")
    wrapped.__cause__ = OSError(errno.EMFILE, "Too many open files", "a.jpg")
    assert describe_machine_fault(wrapped).startswith("a.jpg: Too many open files: raise the limit")
    assert not describe_machine_fault(FileNotFoundError(errno.ENOENT, "No such file", "a.jpg"))


@pytest.mark.parametrize("gigabytes", [2, 8, 64])
def test_the_limits_of_all_workers_together_fit_the_machine(monkeypatch: pytest.MonkeyPatch, gigabytes: int) -> None:
    monkeypatch.setattr(machine, "machine_memory", lambda: gigabytes << 30)
    for workers in (1, 2, 8, 64):
        assert memory_limit(workers) * workers <= gigabytes << 30
        assert memory_limit(workers) <= machine.WORKER_MEMORY
        assert 1 <= machine.count_fitting_workers(workers) <= workers


assert faulty  # its encoders are registered by conftest
