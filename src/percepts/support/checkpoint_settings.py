"""Read the settings of a checkpoint, JSON that somebody else wrote, with types and ranges checked in one place.

`read_settings` is the only reader of config.json, preprocessor_config.json, generation_config.json, adapter.json and
their like. What it gives is bounded in size and depth, holds no key twice and no number that is none, and every key of
`RULES` holds what its rule allows, at whatever depth it stands. A WeightsError says file, key, what came, what is
allowed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..errors import WeightsError

MAX_BYTES = 64 << 20
"""Bytes of one file: a vocabulary of a million words takes half of it, and settings a few kilobytes."""
MAX_DEPTH = 32
"""Objects and lists within each other; checkpoints of the hub go eight deep."""
MAX_SIDE = 8192
"""Pixels along a side of what a network reads; the largest published is 2,560."""
FREE_TABLES = frozenset(
    {"id2label", "label2id", "lang_to_id", "task_to_id", "added_tokens_decoder", "aggregation_labels", "vocab",
     "task_specific_params", "prompts", "about", "auto_map"}
)  # fmt: skip
"""Keys whose value is a table with keys of the checkpoint's own: no rule holds below them."""
WORD_FILES = frozenset({"vocab.json", "added_tokens.json", "vocabulary.json"})
"""Files whose keys are words: no rule holds in them."""


class Settings(dict[str, Any]):
    """An object of a file of settings; a key that is asked for by `[]` and is absent or null is a WeightsError."""

    def __init__(self, items: Mapping[str, Any], path: Path | str) -> None:
        super().__init__(items)
        self.path = path

    def __getitem__(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            raise WeightsError(f"{self.path}: expected a value for {key!r}, which it does not say")
        return value


def read_settings(path: Path) -> Settings:
    """Read an object from a JSON file and check the keys that `RULES` knows.

    Raises:
        WeightsError: it is no such file, or a value is not allowed; says file, key, what came, what is allowed.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: expected a JSON object, got {describe_type(found)}")
    if path.name not in WORD_FILES:
        check_values(found, path)
    return Settings(found, path)


def read_json(path: Path) -> Any:
    """Read a JSON file within MAX_BYTES and MAX_DEPTH. WeightsError where it is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # the byte beyond the limit shows that it is too large
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise WeightsError(f"{path}: expected settings of at most {MAX_BYTES:,} bytes, got more")
    return parse_json(data, path)


def parse_json(data: bytes, path: Path | str) -> Any:
    """Parse JSON with no key twice, no NaN or infinity, and at most MAX_DEPTH levels. WeightsError otherwise."""
    try:
        found = json.loads(
            data.decode("utf-8-sig"),  # some editors write a byte order mark
            object_pairs_hook=_check_unique,
            parse_constant=_refuse_number,
            parse_float=_parse_finite,  # 1e999 would become infinity
        )
        _check_depth(found)
    except RecursionError as error:
        raise WeightsError(f"{path}: expected at most {MAX_DEPTH} levels of nesting, got thousands") from error
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path}: expected JSON in UTF-8, got byte {data[error.start]:#04x}") from error
    except ValueError as error:
        raise WeightsError(f"{path}: expected JSON: {error}") from error
    return found


def _check_unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {_shorten_value(twice)} stands twice in one object")
    return found


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number that JSON has")


def _parse_finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse_number(text)


def _check_depth(found: Any) -> None:
    level, depth = [found], 0
    while level := [x for x in level if isinstance(x, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
        level = [x for whole in level for x in (whole.values() if isinstance(whole, dict) else whole)]


# What is allowed


@dataclass(frozen=True, slots=True)
class Rule:
    """What a key may hold: `allows` says whether a value is allowed, `words` what is, for people."""

    allows: Callable[[Any], bool]
    words: str


def whole_number(low: int, high: int) -> Rule:
    """Return the rule of a whole number from `low` to `high`."""
    # type and not isinstance, because true is an int in Python
    return Rule(lambda x: type(x) is int and low <= x <= high, f"a whole number from {low:,} to {high:,}")


def number(low: float, high: float) -> Rule:
    """Return the rule of a number from `low` to `high`."""
    return Rule(lambda x: type(x) in (int, float) and low <= x <= high, f"a number from {low:g} to {high:g}")


def positive(high: float) -> Rule:
    """Return the rule of a number above 0, to `high`."""
    return Rule(lambda x: type(x) in (int, float) and 0 < x <= high, f"a number above 0, at most {high:g}")


def list_of(rule: Rule, most: int = 1 << 20) -> Rule:
    """Return the rule of a list of what another rule allows."""
    return Rule(
        lambda x: isinstance(x, list) and len(x) <= most and all(map(rule.allows, x)), f"a list of {rule.words}"
    )


def table_of(rule: Rule, key: Callable[[str], bool] = lambda key: True, words: str = "") -> Rule:
    """Return the rule of an object whose values another rule allows, and whose keys are as `words` says."""
    return Rule(
        lambda x: isinstance(x, dict) and len(x) <= 1 << 20 and all(map(key, x)) and all(map(rule.allows, x.values())),
        f"an object{words} of {rule.words}",
    )


def either(*rules: Rule) -> Rule:
    """Return the rule of what one of several rules allows."""
    return Rule(lambda x: any(rule.allows(x) for rule in rules), " or ".join(rule.words for rule in rules))


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) < 10


FLAG = Rule(lambda x: isinstance(x, bool), "true or false")
TEXT = Rule(lambda x: isinstance(x, str) and len(x) <= 4096, "a text")
OBJECT = Rule(lambda x: isinstance(x, dict), "an object")
ANYTHING = Rule(lambda x: True, "anything")
_TOKEN = whole_number(-1, 1 << 31)
_SIDE = whole_number(1, MAX_SIDE)
_SIDES = Rule(
    either(_SIDE, list_of(_SIDE, 8), table_of(_SIDE)).allows,
    f"a side from 1 to {MAX_SIDE:,}, or a list or object of such",
)
_COLOUR, _SPREAD = number(-1000, 1000), positive(1000)
_EDGE = whole_number(1, 1 << 26)  # families after Qwen2-VL write numbers of pixels in these keys


def _one_or_list(high: int) -> Rule:
    """Return the rule of a whole number from 1, or of one for each layer."""
    one = whole_number(1, high)
    return Rule(either(one, list_of(one, 1000)).allows, f"{one.words}, or a list of such")


def _is_size(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    sides = all(_SIDE.allows(value[key]) for key in ("height", "width") if value.get(key) is not None)
    edges = all(_EDGE.allows(value[key]) for key in ("shortest_edge", "longest_edge") if value.get(key) is not None)
    alone = value.get("longest_edge") is not None or value.get("shortest_edge") is None
    return sides and edges and (alone or _SIDE.allows(value["shortest_edge"]))


_SIZE = either(
    _SIDE,
    list_of(_SIDE, 2),
    Rule(_is_size, f"an object of height, width, shortest_edge and longest_edge, sides from 1 to {MAX_SIDE:,}"),
)


def _list_rules() -> Iterator[tuple[str, Rule]]:
    widths = (
        "hidden_size d_model dim n_embd embed_dim embedding_size projection_dim hidden_dim intermediate_size n_inner "
        "ffn_dim encoder_ffn_dim decoder_ffn_dim output_hidden_size"
    )
    layers = "num_hidden_layers encoder_layers decoder_layers n_layer n_layers num_layers"
    heads = "num_attention_heads encoder_attention_heads decoder_attention_heads n_head n_heads num_key_value_heads"
    lengths = (
        "vocab_size max_position_embeddings max_source_positions max_target_positions n_positions max_seq_length "
        "max_length max_num_patches nb_max_samples n_samples"
    )
    small = (
        "num_mel_bins feature_size num_frames tubelet_size frequency_stride time_stride num_channels chunk_length "
        "num_image_with_embedding"
    )
    flags = (
        "do_resize do_center_crop do_normalize do_rescale do_pad use_mean_pooling is_multilingual default_to_square "
        "pooling_mode_mean_tokens pooling_mode_cls_token"
    )
    for names, rule in (
        (widths, _one_or_list(1 << 18)),
        (layers, whole_number(1, 1000)),
        (heads, _one_or_list(4096)),
        (lengths, whole_number(1, 1 << 25)),
        (small, _one_or_list(1 << 16)),
        (flags, FLAG),
        ("image_size patch_size", _SIDES),
        ("size crop_size", _SIZE),
        ("num_register_tokens", whole_number(0, 1024)),
        ("sampling_rate", number(1, 3_072_000)),
        ("n_fft fft_window_size hop_length", whole_number(1, 1 << 20)),
        ("rescale_factor", positive(1000)),
        ("image_mean", either(_COLOUR, list_of(_COLOUR, 4))),
        ("image_std", either(_SPREAD, list_of(_SPREAD, 4))),
        ("mean", number(-1e6, 1e6)),
        ("std", positive(1e6)),
        ("resample", whole_number(0, 5)),  # Pillow's filters, by number
        ("layer_norm_eps rms_norm_eps", number(0, 1)),
        ("hidden_dropout_prob attention_probs_dropout_prob dropout attention_dropout", number(0, 1)),
        ("model_type target_lang problem_type image_processor_type feature_extractor_type", TEXT),
        ("architectures", list_of(TEXT, 64)),
        ("id2label aggregation_labels", table_of(either(TEXT, _TOKEN), _is_index, " with whole numbers as keys,")),
        ("lang_to_id task_to_id", table_of(_TOKEN)),
        ("prompts", table_of(TEXT)),
        ("suppress_tokens begin_suppress_tokens suppress_ids suppress_ids_begin", list_of(_TOKEN)),
        ("lang_ids", list_of(whole_number(0, 1 << 31))),
        (
            "alignment_heads",  # layer and head, in settings of Whisper
            list_of(Rule(lambda x: list_of(whole_number(0, 4096), 2).allows(x) and len(x) == 2, "two numbers")),
        ),
        # the palette of ImageGPT
        ("clusters", list_of(Rule(lambda x: list_of(_COLOUR, 3).allows(x) and len(x) == 3, "three colours"))),
        ("vision_config text_config audio_config", OBJECT),
        ("encoder", either(TEXT, OBJECT)),
    ):
        yield from ((name, rule) for name in names.split())


RULES: Mapping[str, Rule] = dict(_list_rules())
"""What a key may hold wherever it stands in a file of settings; null stands for a key that is not there."""


def check_values(
    found: Mapping[str, Any], path: Path | str, above: str = "", *, rules: Mapping[str, Rule] = RULES
) -> None:
    """Hold each key of settings, and of what is nested in them, against its rule."""
    for key, value in found.items():
        rule = rules.get(key, ANYTHING)
        if value is not None and not rule.allows(value):
            raise WeightsError(f"{path}: expected {above}{key} to be {rule.words}, got {_shorten_value(value)}")
        if isinstance(value, dict) and key not in FREE_TABLES:
            check_values(value, path, f"{above}{key}.", rules=rules)


def describe_type(value: Any) -> str:
    """Return what JSON calls a value of this type."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shorten_value(value: Any) -> str:
    if isinstance(value, dict | list) and len(value) > 8:
        return f"{describe_type(value)} of {len(value):,}"
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} …"


# What is credible


SLACK = 1 << 24
"""Numbers that a network may have beyond its weights: what a checkpoint leaves out is never larger."""


def _is_number(part: Mapping[str, Any], key: str) -> bool:
    return type(part.get(key)) is int


def check_cost(config: Mapping[str, Any], parameters: int, path: Path | str) -> None:
    """Refuse settings of a network far larger than the weights: it would be allocated before anything is compared.

    A layer of a transformer has at least four matrices of its width squared, an embedding one row a word.
    """
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    for part in parts:
        width = next((part[key] for key in ("hidden_size", "d_model", "n_embd", "dim") if _is_number(part, key)), 0)
        layers = max(part.get(key) or 0 for key in ("num_hidden_layers", "encoder_layers", "n_layer", "n_layers"))
        for words, size in (
            (f"{layers:,} layers of width {width:,}", layers * width * width),
            (f"{part.get('vocab_size') or 0:,} words of width {width:,}", (part.get("vocab_size") or 0) * width),
        ):
            if size > 4 * parameters + SLACK:
                raise WeightsError(
                    f"{path}: it describes {words}, and its weights hold {parameters:,} numbers: they are not of one "
                    "checkpoint"
                )
