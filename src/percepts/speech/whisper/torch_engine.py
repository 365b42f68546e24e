"""Run Whisper checkpoints with torch: transformers' encoder, our own decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, TypeVar

import numpy as np
import torch

from ...errors import WeightsError
from ...runtimes.torch import make_thread_pool
from ...weights import pretrained
from ..engines import DecodedWindow, DecodingOptions, TokenAlignment
from .dtw import align_tokens
from .logit_rules import LogitFilter
from .search import decode
from .torch_decoder import Decoder, DecodingState
from .vocabulary import open_whisper_checkpoint, read_alignment_heads, read_generation_config, read_vocabulary

T = TypeVar("T")
SAMPLES_A_STATE = 320  # two frames of 10 ms: the encoder's second convolution has stride 2


class TorchWhisper:
    """Whisper on torch, from a checkpoint.

    Args:
        name: a folder's path or "owner/name@revision".
        device: "cpu", "cuda", or None for a GPU where there is one.
        threads: threads of one call; None: as many as torch has where it is called.

    Raises WeightsError for another model family, for a missing tokenizer, and for incomplete weights.
    """

    kind: ClassVar[Literal["whisper"]] = "whisper"

    def __init__(self, name: str, *, device: str | None = None, threads: int | None = None) -> None:
        checkpoint = open_whisper_checkpoint(name)
        self.name = name
        config = checkpoint.config
        self.vocabulary = read_vocabulary(
            checkpoint.folder, int(config["vocab_size"]), read_generation_config(checkpoint)
        )
        self.n_mels = int(config["num_mel_bins"])
        self.window = int(config["max_source_positions"]) * SAMPLES_A_STATE / 16_000
        self.context = int(config["max_target_positions"])
        self._pool = None if threads is None else make_thread_pool(1, threads)
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = pretrained.load_pretrained("WhisperForConditionalGeneration", checkpoint.folder).to(self._device)
        if len(model.model.decoder.embed_tokens.weight) != self.vocabulary.size:
            raise WeightsError(f"{checkpoint.folder}: config.json and the weights differ in the number of tokens")
        self._encoder, self._decoder = model.model.encoder, Decoder(model.model.decoder)
        self._heads = read_alignment_heads(checkpoint)

    def encode(self, mel: np.ndarray) -> np.ndarray:
        """Encode log-mel windows; see `WhisperEngine.encode`."""
        return self._call(lambda: _to_numpy(self._encoder(self._tensor(mel)).last_hidden_state))

    def decode(
        self, states: np.ndarray, prompts: Sequence[Sequence[int]], search: DecodingOptions
    ) -> list[DecodedWindow]:
        """Decode windows after their prompts; see `WhisperEngine.decode`."""
        return self._call(lambda: self._decode(states, np.array(prompts, np.int64), search))

    def _decode(self, states: np.ndarray, prompts: np.ndarray, search: DecodingOptions) -> list[DecodedWindow]:
        tokens = self.vocabulary
        room = self.context - prompts.shape[1]
        most = min(room, search.max_tokens or self.context // 2)  # openai/whisper's default, too
        # The silence of a window is read at <|startoftranscript|>, as in openai/whisper, not after the last token.
        sot = prompts[0].tolist().index(tokens.sot)
        steps = DecodingState(self._decoder, self._tensor(states), prompts.shape[1] + most, sot)
        rules = LogitFilter(tokens, timestamps=search.timestamps)
        found = decode(steps, prompts, rules, search, tokens.eot, most)
        silence = _softmax(steps.first)[:, tokens.no_speech]
        return [
            DecodedWindow(tuple(row), total, float(prob)) for (row, total), prob in zip(found, silence, strict=True)
        ]

    def align(
        self, states: np.ndarray, prompt: Sequence[int], texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[TokenAlignment]:
        """Find when each text token was said; see `WhisperEngine.align`."""
        rows = zip(states, texts, frames, strict=True)
        return self._call(lambda: [self._align(row[None], prompt, text, count) for row, text, count in rows])

    def _align(self, states: np.ndarray, prompt: Sequence[int], text: Sequence[int], frames: int) -> TokenAlignment:
        tokens = [*prompt, self.vocabulary.no_timestamps, *text, self.vocabulary.eot]
        steps = DecodingState(self._decoder, self._tensor(states), len(tokens))
        logits, attention = steps.cross_attention(np.array(tokens), self._heads)
        # Frames after the audio's end are padding, which heads look at as well.
        path = align_tokens(attention[:, :, :frames], range(len(prompt), len(tokens) - 1))
        probs = _softmax(logits[len(prompt) : -2, : self.vocabulary.eot])
        return TokenAlignment(*path, probs[np.arange(len(text)), list(text)])

    def detect_language(self, states: np.ndarray) -> list[dict[str, float]]:
        """Return the probabilities of the languages of each window; see `WhisperEngine.detect_language`."""
        codes = self.vocabulary.languages
        prompts = np.full((len(states), 1), self.vocabulary.sot)
        logits = self._call(lambda: DecodingState(self._decoder, self._tensor(states), 1).begin(prompts, 1))
        probs = _softmax(logits[:, list(codes.values())])
        return [dict(zip(codes, row.tolist(), strict=True)) for row in probs]

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _call(self, function: Callable[[], T]) -> T:
        def inside() -> T:
            with torch.inference_mode():
                return function()

        return inside() if self._pool is None else self._pool.submit(inside).result()


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: np.ndarray = raised / raised.sum(axis=-1, keepdims=True)
    return result


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.float().cpu().numpy()
    return array
