"""Transcribe and align English with pocketsphinx, whose model is inside its package: no hub, no download.

It is a recogniser of the 2000s (hidden Markov models and a trigram): good enough to try everything without a hub and to
align a known text, too poor for a transcript to read. docs/speech.md has measured error rates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..errors import AlignError, MissingExtra, OptionsError
from ..types import Clip, Segment
from ..windows.contiguous import TolerateTruncation, check_contiguous
from ..windows.speech import Energy, SpeechRules, cut_speech
from .blocks import check_mono, join_blocks
from .ctc.decode import build_segment
from .ctc.forced_alignment import build_line_segments, split_lines

if TYPE_CHECKING:
    from .options import TranscribeOptions

RATE = 16_000
FRAME_S = 0.01  # seconds
MAX_UTTERANCE_S = 30.0  # seconds decoded at once: cepstral means are taken over all of them first
MAX_ALIGNED_S = 600.0  # longest audio for a text to align
SPEECH_RULES = SpeechRules(min_silence=1.0, max_speech=MAX_UTTERANCE_S, pad=0.2)
_NOISE = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
_VARIANT = re.compile(r"\(\d+\)$")


class Sphinx:
    """pocketsphinx with the US English model of its package: lower case, no punctuation, no scores.

    Raises MissingExtra where pocketsphinx is not installed.
    """

    kind: ClassVar[Literal["standalone"]] = "standalone"
    name = "sphinx"

    def transcribe(self, clips: Iterable[Clip], options: TranscribeOptions) -> Iterator[Segment]:
        """Transcribe blocks of one stream to segments; more than half a minute is cut in its pauses.

        Raises OptionsError for another language than English, a translation, or a prompt.
        """
        if options.language not in (None, "en") or options.task != "transcribe":
            raise OptionsError(
                f"sphinx transcribes English only: it cannot {options.task} from {options.language or 'any'}"
            )
        if options.initial_prompt or options.hotwords:
            raise OptionsError("sphinx does not support prompts or hotwords")
        # The checks are not in the generator, so that an error comes with the call.
        return self._transcribe_blocks(clips)

    def _transcribe_blocks(self, clips: Iterable[Clip]) -> Iterator[Segment]:
        """Decode a short stream at once, a longer one cut in its pauses."""
        source = TolerateTruncation(clips)
        stream = check_contiguous(source)
        first_blocks, seconds = [], 0.0
        for block in stream:
            check_mono(block, RATE)
            first_blocks.append(block)
            seconds += block.duration
            if seconds > MAX_UTTERANCE_S:
                break
        if seconds > MAX_UTTERANCE_S:
            for stretch in cut_speech(Energy(), SPEECH_RULES)(chain(first_blocks, stream)):
                yield from self._transcribe_utterance(stretch)
        elif first_blocks:
            yield from self._transcribe_utterance(join_blocks(first_blocks))
        # Raises the TruncatedMedia that ended the stream, if there was one.
        source.release()

    def _transcribe_utterance(self, clip: Clip) -> Iterator[Segment]:
        """Decode one piece of speech to a segment; nothing for silence."""
        if not any(True for _ in cut_speech(Energy())([clip])):
            return  # from silence it would make words
        words = list(self._decode_words(self._decoder, clip))
        if words:
            yield build_segment(words)

    def align(self, clips: Iterable[Clip], text: str) -> list[Segment]:
        """Return when each word of a known text was spoken: one segment for each line, with its words.

        Raises AlignError for words that its dictionary of 130,000 words lacks, and for more than ten minutes.
        """
        blocks = list(clips)
        for block in blocks:
            check_mono(block, RATE)
        sound = join_blocks(blocks or [Clip(np.zeros((1, 0), np.float32), "audio", float(RATE))])
        if sound.duration > MAX_ALIGNED_S:
            raise AlignError(
                f"sphinx aligns at most {MAX_ALIGNED_S:g} s of audio, got {sound.duration:.0f} s: use a CTC model, "
                "such as facebook/wav2vec2-base-960h"
            )
        lines, words = split_lines(text)
        spoken = [_to_dictionary_form(word) for word in words]
        unknown = [word for word in spoken if word and self._decoder.lookup_word(word) is None]
        if unknown or not any(spoken):
            raise AlignError(
                f"sphinx has no pronunciation of {', '.join(map(repr, unknown[:5])) or 'nothing'}: spell out numbers "
                "and names, or use a CTC model, such as facebook/wav2vec2-base-960h"
            )
        return build_line_segments(lines, words, self._align_words(sound, spoken), sound.start, sound.stop)

    def _align_words(self, sound: Clip, spoken: list[str]) -> list[Segment | None]:
        """Return each word with its times, None for a word that is not spoken."""
        decoder = _create_decoder()  # a new one: a decoder keeps the text it was given
        decoder.set_align_text(" ".join(word for word in spoken if word))
        timed = iter(list(self._decode_words(decoder, sound)))
        placed = [next(timed, None) if word else None for word in spoken]
        if placed[max(i for i, word in enumerate(spoken) if word)] is None:
            raise AlignError(
                "sphinx cannot align this text with this audio: check that the text is all that is spoken in it"
            )
        return placed

    def _decode_words(self, decoder: Any, clip: Clip) -> Iterator[Segment]:
        """Yield the words of one utterance, on the clock of the clip."""
        # Without the clip int16 would wrap around beyond full scale.
        pcm = (clip.data[0].clip(-1, 1) * 32767).round().astype("<i2").tobytes()
        decoder.start_utt()
        try:
            decoder.process_raw(pcm, full_utt=True)
        finally:
            # An utterance left open would make the next start_utt fail.
            decoder.end_utt()
        for part in decoder.seg() or ():
            if not _NOISE.fullmatch(part.word):
                # end_frame is the last frame of the word, not the one after it.
                start, stop = clip.start + part.start_frame * FRAME_S, clip.start + (part.end_frame + 1) * FRAME_S
                yield Segment(start, min(stop, clip.stop), f" {_VARIANT.sub('', part.word)}")

    @cached_property
    def _decoder(self) -> Any:
        return _create_decoder()


def _create_decoder() -> Any:
    """Create a decoder with the US English model; MissingExtra where pocketsphinx is not installed."""
    try:
        import pocketsphinx
    except ModuleNotFoundError as error:
        raise MissingExtra("sphinx needs pocketsphinx: pip install 'percepts[sphinx]'") from error
    return pocketsphinx.Decoder(loglevel="FATAL")


def _to_dictionary_form(word: str) -> str:
    """Return a word as the dictionary spells it: lower case and apostrophes; "" for punctuation."""
    return re.sub(r"[^\w'-]|_", "", word.casefold().replace("’", "'")).strip("'-")
