from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from percepts.encoders import list_models, load_encoder, model_spec, register_encoder, registry
from percepts.errors import MissingExtra, UnknownModel
from percepts.types import Spec

PLUGIN = """
[percepts.encoders]
{name} = {value}
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Rows added by a test go with it."""
    monkeypatch.setattr(registry, "_registered", {})
    registry._list_installed.cache_clear()
    yield
    registry._list_installed.cache_clear()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, value: str) -> None:
    """A package with an entry point, found on the path."""
    (folder / "plugin_of_test.py").write_text(module)
    info = folder / "plugin_of_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-test\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(PLUGIN.format(name="mine", value=value))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "plugin_of_test", raising=False)


MODULE = """
from dataclasses import replace
from percepts.types import Spec
SPEC = Spec(name="mine", target="plugin_of_test:Mine", kind="image", dim=3, pool="mean", license="MIT", size=1)
BOTH = (SPEC, replace(SPEC, name="mine-too"))
TAKEN = replace(SPEC, name="conse")
class Mine:
    def __init__(self, spec, *, runtime="auto", threads=None):
        self.spec = spec
"""


def test_a_spec_needs_a_name_and_a_kind_and_takes_no_positions() -> None:
    spec = Spec(name="notes", kind="audio")
    assert (spec.dim, spec.pool, spec.weights, spec.license) == (0, "", (), "unknown")
    with pytest.raises(TypeError, match="kind"):
        Spec(name="notes")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Spec("notes", "", "audio")  # type: ignore[misc]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        UnknownModel, match=r"no encoder called 'consé'\. Did you mean conse.*percepts models"
    ) as caught:
        load_encoder("consé")
    assert "melstats" not in str(caught.value)  # the rest is in the list


def test_an_entry_point_is_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, MODULE, "plugin_of_test:SPEC")
    assert "mine" in list_models()
    assert load_encoder("mine").spec is model_spec("mine")


def test_an_entry_point_may_name_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, MODULE, "plugin_of_test:BOTH")
    assert {"mine", "mine-too"} <= set(list_models())


def test_an_entry_point_may_not_take_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, MODULE, "plugin_of_test:TAKEN")
    with pytest.raises(
        ValueError, match=r"plugin_of_test:TAKEN: an encoder called 'conse' exists already: .builtin.conse:Conse"
    ):
        list_models()


def test_a_broken_entry_point_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, monkeypatch, "import no_such_module_at_all", "plugin_of_test:SPEC")
    with caplog.at_level(logging.WARNING):
        assert "conse" in list_models()
    assert "no_such_module_at_all" in caplog.text


def test_a_registered_row_is_found() -> None:
    row = replace(model_spec("fake-image"), name="mine")
    register_encoder(row)
    register_encoder(row)
    assert load_encoder("mine").spec == row
    with pytest.raises(ValueError, match="exists already"):
        register_encoder(replace(row, dim=9))
    with pytest.raises(ValueError, match="exists already"):
        register_encoder(replace(row, name="conse"))


def test_what_is_no_spec_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a percepts Spec, got str"):
        register_encoder("conse")  # type: ignore[arg-type]


def test_a_missing_extra_says_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "needy_of_test.py").write_text("import no_such_library")
    needy = replace(model_spec("fake-image"), name="needy", target="needy_of_test:Needy", extra="speech")
    register_encoder(needy)
    register_encoder(replace(needy, name="plain", extra=""))
    with pytest.raises(MissingExtra, match=r"needy needs no_such_library: pip install 'percepts\[speech\]'"):
        load_encoder("needy")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_encoder("plain")


def test_knowing_of_encoders_imports_none() -> None:
    code = (
        "import sys; from percepts.encoders import list_models, model_spec;"
        "[model_spec(name) for name in list_models()];"
        "print(*[m for m in sys.modules if m.startswith('percepts.encoders.') and not m.endswith('.registry')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
