"""The house rules that no reader should have to check by eye."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import percepts

LAYERS = """
errors support types windows preprocess runtimes networks weights media encoders speech timeline diarization
vlm people metrics stores adapters tasks jobs training interop serve cli toolbox
""".split()  # noqa: SIM905  # a list of names reads better as one
"""Lowest first; a layer imports those before it, never after. Written here and nowhere else."""

PACKAGE = Path(percepts.__file__).parent
MODULES = sorted(
    path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
)


def imported_layers(path: Path) -> Iterator[str]:
    """First name below `percepts` of every import in a module, wherever in it."""
    parents = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = list(parents[: len(parents) - node.level + 1]) if node.level else []
            names = base + (node.module.split(".") if node.module else [])
            if not node.level and names[:1] != ["percepts"]:
                continue
            names = names if node.level else names[1:]
            yield from [names[0]] if names else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("percepts."))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_layer_imports_only_those_below_it(module: Path) -> None:
    layer = module.parts[0].removesuffix(".py")
    assert layer in LAYERS, f"{layer} is no layer"
    above = {name for name in imported_layers(PACKAGE / module) if LAYERS.index(name) > LAYERS.index(layer)}
    assert not above, f"{module} imports {above}"


def test_the_public_names_are_these() -> None:
    assert " ".join(percepts.__all__) == (
        "Answer Classifier Clip Diarization Encoder Event Features Hit LabelResult PerceptsError Progress Record "
        "Replay Report Segment Similarity Spec StreamingConfig TableAnswer TextEncoder TranscribeOptions Transcript "
        "VerifyReport align ask ask_table caption classify datasets_transform describe_model diarize diarize_online "
        "embed embed_iter list_models load_encoder model_spec open_audio open_image openl3 probe register_encoder "
        "replay search similarity soft_tokens stream stream_audio stream_frames transcribe transcribe_iter verify "
        "zero_shot"
    )
    for name in percepts.__all__:
        assert getattr(percepts, name) is not None


def test_type_checkers_see_the_same_names() -> None:
    stub = ast.parse(Path(PACKAGE / "__init__.pyi").read_text("utf-8"))
    found = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert found == set(percepts.__all__)


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"public names: .*embed"):
        percepts.embedd  # noqa: B018


@pytest.mark.parametrize("module", ["percepts", "percepts.errors", "percepts.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = ["torch", "transformers", "onnxruntime", "lancedb", "pyarrow", "av", "PIL", "soundfile", "scipy", "numpy"]
    code = f"import sys, {module}; print(*[name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not found


def test_preparing_for_the_default_models_loads_no_framework() -> None:
    code = (
        "import sys, numpy as np\n"
        "from percepts.types import Clip\n"
        "import percepts.jobs.workers.worker\n"
        "from percepts.encoders import load_encoder\n"
        "load_encoder('conse').prepare([Clip(np.zeros((1, 40, 30, 3), np.uint8), 'image', 0.0)])\n"
        "load_encoder('melstats').prepare([Clip(np.zeros((1, 64000), np.float32), 'audio', 16000.0)])\n"
        "print(*[m for m in ('torch', 'transformers', 'onnxruntime', 'lancedb') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not found


def test_every_module_opens_with_its_sentence() -> None:
    for module in MODULES:
        doc = import_ast_docstring(PACKAGE / module)
        assert doc and doc.strip().splitlines()[0].endswith((".", ":", "?")), module


def import_ast_docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_errors_are_one_tree_drawn_in_its_docstring() -> None:
    errors = import_module("percepts.errors")
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    assert all(issubclass(c, errors.PerceptsError) for c in classes)
    assert all(c.__name__ in (errors.__doc__ or "") for c in classes)


FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
}
APART = [
    ("encoders.builtin", "encoders.hub"),
    ("speech.ctc", "speech.whisper"),
    ("speech.whisper", "speech.ctc"),
    ("vlm.documents", "vlm.tables"),
    ("vlm.tables", "vlm.documents"),
    ("jobs.storage", "jobs.workers"),
]
"""Rooms inside rooms: the first must not import the second."""


def imported_names(module: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of each name that a module takes from the package, wherever in it the import stands."""
    path = FILES[module]
    folder = list(path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            below = (node.module or "").split(".") if node.module else []
            if not node.level and below[:1] != ["percepts"]:
                continue
            base = folder[: len(folder) - node.level + 1] + below if node.level else below[1:]
            yield from ((".".join(base), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("percepts."):
                    yield alias.name.removeprefix("percepts.").rpartition(".")[0], alias.name.rpartition(".")[2]


def imported_modules(module: str) -> set[str]:
    """Return the modules a module imports, but for the packages it is in."""
    found = set()
    for base, name in imported_names(module):
        full = f"{base}.{name}" if base else name
        target = full if full in FILES else base
        if target in FILES and target != module and not module.startswith(f"{target}."):
            found.add(target)
    return found


def test_no_module_is_in_an_import_cycle() -> None:
    """Imports inside functions and under TYPE_CHECKING count."""
    left = {module: imported_modules(module) for module in FILES}
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    needed = {module for module, needs in left.items() if any(module in other for other in left.values())}
    assert not needed, f"in cycles, or between two: {sorted(needed)}"


@pytest.mark.parametrize("module", sorted(FILES))
def test_no_private_name_is_taken_from_another_folder(module: str) -> None:
    folder = FILES[module].relative_to(PACKAGE).parent.parts
    for base, name in imported_names(module):
        parts = base.split(".") if base else []
        private = [part for part in [*parts, name] if part.startswith("_") and not part.startswith("__")]
        assert not private or tuple(parts[: len(folder)]) == folder, f"{module} takes {base}.{name}"


@pytest.mark.parametrize(("room", "other"), APART)
def test_a_room_does_not_import_the_one_beside_it(room: str, other: str) -> None:
    inside = [module for module in FILES if module == room or module.startswith(f"{room}.")]
    assert inside, f"there is no {room}"
    for module in inside:
        for target in imported_modules(module):
            assert target != other and not target.startswith(f"{other}."), f"{module} imports {target}"
