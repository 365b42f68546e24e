"""The package is written in plain words: names, docstrings, help, errors. The limits may only be lowered."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import percepts
from percepts import errors
from percepts.cli import app

PACKAGE = Path(percepts.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path.relative_to(PACKAGE): ast.parse(path.read_text("utf-8")) for path in FILES}

Function = ast.FunctionDef | ast.AsyncFunctionDef

NO_VERBS = frozenset(
    [
        "a",
        "all",
        "an",
        "any",
        "as",
        "at",
        "both",
        "by",
        "each",
        "every",
        "everything",
        "for",
        "from",
        "how",
        "if",
        "in",
        "it",
        "its",
        "no",
        "none",
        "nothing",
        "of",
        "on",
        "one",
        "only",
        "so",
        "some",
        "that",
        "the",
        "their",
        "these",
        "they",
        "this",
        "those",
        "to",
        "two",
        "what",
        "when",
        "where",
        "whether",
        "which",
        "who",
        "whose",
        "why",
        "with",
        "without",
        "bytes",
        "false",
        "how-many",
        "seconds",
        "shape",
        "true",
    ]
)
"""First words of a docstring that does not say what a function does."""
PARTICIPLES = frozenset(
    [
        "asked",
        "begun",
        "bought",
        "bound",
        "brought",
        "built",
        "chosen",
        "come",
        "cut",
        "done",
        "drawn",
        "found",
        "given",
        "gone",
        "heard",
        "held",
        "hidden",
        "kept",
        "known",
        "laid",
        "left",
        "lost",
        "made",
        "meant",
        "met",
        "put",
        "read",
        "said",
        "seen",
        "sent",
        "shown",
        "spoken",
        "split",
        "spread",
        "taken",
        "thrown",
        "told",
        "understood",
        "worn",
        "written",
    ]
)
"""Irregular participles; those that end in -ed are seen by their ending. As the whole name of a function they do not
say what it does. `cut`, `put`, `read`, `split` and `spread` are verbs, too."""
ALSO_VERBS = frozenset({"cut", "put", "read", "split", "spread", "embed", "seed", "need", "feed", "speed"})
DIALECT = re.compile(
    r"\b(told|kin|anew|sooner|dear|crews?|parcels?|hands? of|by now|is well|pictures?|checkpoints? of the hub"
    r"|a sound (?:file|medium|image|source)|sound (?:pictures?|media))\b"
)
"""Words that only this package used, each with a plain one: image, batch, worker, again, Hugging Face model, intact."""

SPEAKING = frozenset({"warn", "warning", "info", "error", "exception", "BadParameter", "echo", "secho"})
"""Methods whose argument people read: of warnings, loggers and typer."""

MAX_PARAMETERS = 8
MANY_PARAMETERS_ALLOWED = ("cli", "interop/openl3")
"""A command has a parameter for each option, and OpenL3's functions are given by its API."""

# How many of each the package may still have. Lower a number when it is reached; never raise one.
LIMITS = {
    "verbless": 24,
    "openings": 0,
    "participles": 2,
    "signatures": 7,
    "dialect": 15,
    "help": 0,
    "messages": 2,
}
MIN_COMMENTS = 2.3
"""Per 100 lines of code."""


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def decorators(function: Function) -> str:
    return " ".join(map(ast.unparse, function.decorator_list))


def opening(node: Function | ast.Module) -> str:
    return (ast.get_docstring(node) or "").split("\n")[0]


def verbless_docstrings() -> Iterator[str]:
    """A property is named for what it holds, and so is its docstring."""
    for path, tree in TREES.items():
        for function in functions(tree):
            first = opening(function)
            if first and "property" not in decorators(function) and not begins_with_verb(first):
                yield f"{path}:{function.lineno} {first}"


def begins_with_verb(sentence: str) -> bool:
    word = sentence.split()[0].strip(",.:;")
    return word[:1].isupper() and word.isalpha() and word.lower() not in NO_VERBS and not word.endswith(("ing", "ed"))


def openings_in_and_out() -> Iterator[str]:
    for path, tree in TREES.items():
        if re.search(r"\bin[,;:].*\bout\b", opening(tree)):
            yield f"{path} {opening(tree)}"


def participles() -> Iterator[str]:
    for path, tree in TREES.items():
        for function in functions(tree):
            words = function.name.strip("_").split("_")
            if "property" not in decorators(function) and len(words) == 1 and is_participle(words[0]):
                yield f"{path}:{function.lineno} {function.name}"


def is_participle(word: str) -> bool:
    return word not in ALSO_VERBS and (word in PARTICIPLES or bool(re.fullmatch(r"\w{2,}ed", word)))


def long_signatures() -> Iterator[str]:
    for path, tree in TREES.items():
        if path.as_posix().startswith(MANY_PARAMETERS_ALLOWED):
            continue
        for function in functions(tree):
            given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            count = sum(argument.arg not in ("self", "cls") for argument in given)
            if count > MAX_PARAMETERS and "overload" not in decorators(function):
                yield f"{path}:{function.lineno} {function.name}: {count} parameters"


def dialect_in_strings() -> Iterator[str]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from (f"{path}:{node.lineno} {match[0]}" for match in DIALECT.finditer(node.value))


def dialect_in_help() -> Iterator[str]:
    for name, command in commands(typer.main.get_command(app), "percepts"):
        texts = [command.help or "", *(getattr(option, "help", None) or "" for option in command.params)]
        yield from (f"{name} --help: {match[0]}" for text in texts for match in DIALECT.finditer(text))


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {word}")


def dialect_in_messages() -> Iterator[str]:
    """What is raised, warned of or logged, and what each class of error says of itself."""
    for error in vars(errors).values():
        if isinstance(error, type):
            yield from (f"{error.__name__}: {match[0]}" for match in DIALECT.finditer(error.__doc__ or ""))
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            for text in message_texts(node):
                yield from (f"{path}:{text.lineno} {match[0]}" for match in DIALECT.finditer(text.value))


def message_texts(node: ast.AST) -> Iterator[Any]:
    """The constant parts of the message of a `raise`, of `warnings.warn` or of a log line."""
    said: ast.AST | None = None
    if isinstance(node, ast.Raise):
        said = node.exc
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SPEAKING:
        said = node
    if said is not None:
        yield from (n for n in ast.walk(said) if isinstance(n, ast.Constant) and isinstance(n.value, str))


CHECKS: dict[str, Callable[[], Iterator[str]]] = {
    "verbless": verbless_docstrings,
    "openings": openings_in_and_out,
    "participles": participles,
    "signatures": long_signatures,
    "dialect": dialect_in_strings,
    "help": dialect_in_help,
    "messages": dialect_in_messages,
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_package_is_written_in_plain_words(name: str) -> None:
    found = list(CHECKS[name]())
    assert len(found) <= LIMITS[name], "\n".join(["", *found])


def test_comments_give_reasons() -> None:
    lines = [line for path in FILES for line in path.read_text("utf-8").splitlines() if line.strip()]
    comments = [line for line in lines if re.search(r"(^|\s)#(?! ?(type|noqa|fmt|pragma|ruff))", line)]
    assert 100 * len(comments) / len(lines) >= MIN_COMMENTS


@pytest.mark.parametrize(
    ("sentence", "plain"),
    [
        ("Return the vectors.", True),
        ("Process it.", True),
        ("What is left of it.", False),
        ("(B, D) float32 of a batch.", False),
        ("Reading the file.", False),
        ("The vectors of a batch.", False),
    ],
)
def test_the_check_tells_sentences_apart(sentence: str, plain: bool) -> None:
    assert begins_with_verb(sentence) is plain


@pytest.mark.parametrize(("word", "bare"), [("told", True), ("checked", True), ("embed", False), ("search", False)])
def test_the_check_tells_names_apart(word: str, bare: bool) -> None:
    assert is_participle(word) is bare
