"""`percepts doctor` tries things; whatever happens when it does is a finding, and what the default needs decides."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from percepts.cli import app
from percepts.cli.doctor import canary as canaries
from percepts.cli.doctor import checks
from percepts.cli.doctor.checks import Finding, run_checks


@pytest.fixture(scope="module")
def findings():
    return {(check.area, check.name): check for check in run_checks(canary=False)}


def test_everything_the_default_needs_is_well_here(findings):
    assert [check for check in findings.values() if check.needed and check.state != "ok"] == []


def test_every_dependency_and_every_extra_has_a_line(findings):
    assert {("package", "numpy"), ("package", "pyarrow"), ("extra", "demo"), ("extra", "ray")} <= set(findings)
    assert not {("extra", "dev"), ("extra", "all"), ("package", "pytest")} & set(findings)


def test_every_installed_runtime_ran(findings):
    from percepts.runtimes import RUNTIMES, cache_root

    for name in ("onnx", "openvino", "torch"):
        assert findings["runtime", name].state == ("ok" if RUNTIMES[name].is_installed else "absent")
    assert not list((cache_root() / "graphs").glob("doctor*")), "the small graph is thrown away"


def test_what_breaks_is_a_finding_in_one_line():
    def broken():
        raise OSError("libsndfile.so: wrong\n  ELF class")

    found = checks._run_check("media", "sound", broken)
    assert (found.state, found.needed) == ("broken", True)
    assert found.detail == "OSError: libsndfile.so: wrong ELF class"


def test_a_missing_dependency_is_broken_and_a_missing_extra_only_absent(monkeypatch):
    monkeypatch.setattr(checks, "_package_version", lambda package: None if package in {"soxr", "ray"} else "1.0")
    found = {(check.area, check.name): check for check in checks._check_packages()}
    assert found["package", "soxr"].state == "broken"
    assert "pip install 'soxr" in found["package", "soxr"].detail
    assert found["extra", "ray"].state == "absent"
    assert found["extra", "ray"].detail == "pip install 'percepts[ray]'"


def test_the_command_ends_with_0_when_all_is_well(percepts):
    done = percepts("doctor", "--quick", "--json")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    assert report["ok"] and all(set(check) == set(report["checks"][0]) for check in report["checks"])


def test_the_command_ends_with_1_and_names_what_is_broken(monkeypatch):
    found = [
        Finding("system", "cache", "broken", "read-only", needed=True),
        Finding("extra", "ray", "absent", "pip install"),
    ]
    monkeypatch.setattr(checks, "run_checks", lambda canary: iter(found))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["system", "cache", "broken"],
        ["extra", "ray", "absent"],
    ]
    assert done.stderr.strip() == "percepts: broken: cache"


@pytest.mark.parametrize("name", sorted(canaries.CANARIES))
def test_the_canary_sings(name):
    assert canaries.check_canary(name).startswith("cosine ")


def test_the_clock_is_found_by_words():
    assert "'a clock on the wall' finds the clock" in canaries.check_canary("conse")


def test_a_canary_that_sings_otherwise_is_heard(monkeypatch):
    wrong = canaries.read_expected("melstats")[::-1].copy()
    monkeypatch.setattr(canaries, "measure_canary", lambda name: wrong)
    with pytest.raises(ArithmeticError, match=r"expected a cosine of 0\.999"):
        canaries.check_canary("melstats")


def test_a_canary_that_is_not_finite_is_heard(monkeypatch):
    monkeypatch.setattr(canaries, "measure_canary", lambda name: np.full(512, np.nan, np.float32))
    with pytest.raises(ArithmeticError, match="512 of 512 numbers are not finite"):
        canaries.check_canary("melstats")
