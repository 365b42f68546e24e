"""Run Whisper models with CTranslate2: int8 on the CPU, beam search in C++. Checkpoints are converted at first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Literal

import ctranslate2
import numpy as np

from ...errors import WeightsError
from ...runtimes.row_pool import usable_cores
from ...support.checkpoint_settings import TEXT, list_of, read_json
from ...weights.checkpoint import Checkpoint
from ..engines import DecodedWindow, DecodingOptions, TokenAlignment, WhisperVocabulary
from .ctranslate2_detect import is_converted
from .logit_rules import FIRST
from .vocabulary import open_whisper_checkpoint, read_generation_config, read_vocabulary

SAMPLES_A_STATE = 320
COMPUTED = {"cpu": "int8", "cuda": "float16"}
"""The compute type of each device: the fast arithmetic that is the reason to use this engine."""


class CT2Whisper:
    """Whisper on CTranslate2 (extra `ct2`), from a checkpoint or from a folder that CTranslate2's converter wrote.

    Above temperature 0 its random draws cannot be repeated: the seed has no effect, and a row depends on the others of
    its batch.

    Args:
        name: a folder's path or "owner/name@revision".
        device: "cpu", "cuda", or None for a GPU where there is one.
        threads: threads of one call; None: one per core.
        precision: CTranslate2's compute type; None: int8 on the CPU, float16 on a GPU.

    Raises WeightsError for another model family, for a missing tokenizer, and for a vocabulary that CTranslate2
    would misread.
    """

    kind: ClassVar[Literal["whisper"]] = "whisper"

    def __init__(
        self, name: str, *, device: str | None = None, threads: int | None = None, precision: str | None = None
    ) -> None:
        self.name = name
        folder, self.vocabulary, self.window, self.context = _open_model(name)
        device = device or ("cuda" if ctranslate2.get_cuda_device_count() else "cpu")
        self._model = _load_in_own_thread(
            lambda: ctranslate2.models.Whisper(
                str(folder), device, compute_type=precision or COMPUTED[device], intra_threads=threads or usable_cores()
            )
        )
        self.n_mels = int(self._model.n_mels)
        tokens = self.vocabulary
        if bool(tokens.languages) != self._model.is_multilingual:
            raise WeightsError(
                f"{folder}: CTranslate2 reads it as a model of {_describe_languages(self._model)}: convert it again"
            )
        # Special tokens between the text and the timestamps stand in prompts only.
        self._never = sorted({*tokens.suppressed, *range(tokens.eot + 1, tokens.timestamps)})

    def encode(self, mel: np.ndarray) -> np.ndarray:
        """Encode log-mel windows; see `WhisperEngine.encode`."""
        states: np.ndarray = np.array(self._model.encode(_to_storage_view(mel), to_cpu=True), np.float32)
        return states

    def decode(
        self, states: np.ndarray, prompts: Sequence[Sequence[int]], search: DecodingOptions
    ) -> list[DecodedWindow]:
        """Decode windows after their prompts; see `WhisperEngine.decode`."""
        before = len(prompts[0])
        most = min(self.context - before, search.max_tokens or self.context // 2)
        penalty = 1.0 if search.length_penalty is None else search.length_penalty
        drawn = search.temperature > 0  # openai/whisper has no beam search above 0 either
        found = self._model.generate(
            _to_storage_view(states),
            [list(prompt) for prompt in prompts],
            beam_size=1 if drawn else search.beam,
            patience=search.patience,
            num_hypotheses=search.best_of if drawn else 1,
            length_penalty=penalty,
            max_length=max(2 * most, most + before),  # CTranslate2 halves the length for Whisper
            return_scores=True,
            return_no_speech_prob=True,
            max_initial_timestamp_index=FIRST,
            # CTranslate2's default, -1, takes suppress_ids of config.json alone.
            suppress_tokens=self._never,
            sampling_topk=0 if drawn else 1,  # 0: from all tokens, as openai/whisper draws
            sampling_temperature=search.temperature if drawn else 1.0,
        )
        return [
            DecodedWindow(
                tuple(tokens := row.sequences_ids[0]), row.scores[0] * len(tokens) ** penalty, row.no_speech_prob
            )
            for row in found
        ]

    def align(
        self, states: np.ndarray, prompt: Sequence[int], texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[TokenAlignment]:
        """Find when each text token was said; see `WhisperEngine.align`."""
        texts, sizes = [list(text) for text in texts], [2 * count for count in frames]
        found = self._model.align(_to_storage_view(states), list(prompt), texts, sizes)
        return [_to_alignment(row) for row in found]

    def detect_language(self, states: np.ndarray) -> list[dict[str, float]]:
        """Return the probabilities of the languages of each window; see `WhisperEngine.detect_language`."""
        found = self._model.detect_language(_to_storage_view(states))
        return [{spelled.strip("<|>"): float(prob) for spelled, prob in row} for row in found]


def _open_model(name: str) -> tuple[Path, WhisperVocabulary, float, int]:
    """Return folder, vocabulary, window in seconds and context in tokens of a model.

    A checkpoint is converted first, unless the cache has it; a folder that is already converted is taken as it is.
    """
    folder = Path(name)
    if is_converted(folder):
        return folder, _read_converted_vocabulary(folder), 30.0, 448  # its config.json has neither
    from .ctranslate2_convert import convert_checkpoint

    checkpoint = open_whisper_checkpoint(name)
    config = checkpoint.config
    tokens = read_vocabulary(checkpoint.folder, int(config["vocab_size"]), read_generation_config(checkpoint))
    window = int(config["max_source_positions"]) * SAMPLES_A_STATE / 16_000
    return convert_checkpoint(name, checkpoint, tokens), tokens, window, int(config["max_target_positions"])


def _read_converted_vocabulary(folder: Path) -> WhisperVocabulary:
    """Read the vocabulary of a folder that another tool converted.

    Raises WeightsError where vocabulary.json was made with an invented tokenizer: it then differs from tokenizer.json.
    """
    path = folder / "vocabulary.json"
    config = Checkpoint(folder).config
    if not path.is_file() or "suppress_ids" not in config:
        raise WeightsError(f"{folder}: expected a Whisper model converted by CTranslate2, with vocabulary.json")
    spelled = read_json(path)
    if not list_of(TEXT).allows(spelled):
        raise WeightsError(f"{path}: expected a list of texts, one for each token")
    ids = config.get("lang_ids") or ()
    if any(token >= len(spelled) for token in ids):
        raise WeightsError(f"{folder}: config.json: expected lang_ids below the {len(spelled)} tokens there are")
    codes = {spelled[token]: token for token in ids}
    settings: dict[str, Any] = {
        "suppress_tokens": config.get("suppress_ids"),
        "begin_suppress_tokens": config.get("suppress_ids_begin"),
        "lang_to_id": codes,
        "is_multilingual": "" in spelled,
    }
    found = read_vocabulary(folder, len(spelled), settings)
    if spelled[found.sot] != "<|startoftranscript|>" or spelled[found.no_timestamps] != "<|notimestamps|>":
        raise WeightsError(
            f"{folder}: vocabulary.json and tokenizer.json are not of one model: it was converted without its "
            "tokenizer; give the checkpoint itself, which is converted with checks"
        )
    return found


def _load_in_own_thread(load: Callable[[], Any]) -> Any:
    """Load a model in a thread that ends afterwards.

    CTranslate2 sets the number of threads of the thread in which it loads, and thereby torch's there, too.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(load).result()


def _to_storage_view(array: np.ndarray) -> Any:
    """Copy an array to CTranslate2's own type, float32 and contiguous."""
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array, np.float32))


def _to_alignment(row: Any) -> TokenAlignment:
    """Convert CTranslate2's alignment of one window to ours."""
    tokens, frames = np.array(row.alignments, int).reshape(-1, 2).T
    return TokenAlignment(tokens, frames, np.array(row.text_token_probs, np.float64))


def _describe_languages(model: Any) -> str:
    """Return how CTranslate2 understands the model's languages, for an error message."""
    return "many languages" if model.is_multilingual else "English only"
