"""Embed the demo's images, audio and video, and search them by words and by audio."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ...errors import MissingExtra
from ...support.outputs import OutputFolder

if TYPE_CHECKING:
    from ...jobs.progress import Progress, Report
    from ...tasks.search import Hit

DATA = Path(__file__).parents[2] / "data" / "demo"
RECORDING, FILM = "recording.flac", "film.mp4"
MEDIA, VECTORS = "media", "vectors"
"""Folders of the demo, below its output folder."""
SHEETS = ("contact-sheet.html", "contact-sheet.png")
PICTURES = {"skimage": "data", "sklearn": "datasets/images"}
"""Packages whose wheels carry photos, and the folder in each that holds them."""
SUFFIXES = {".png", ".jpg"}  # the .tif and .gif files there are for tests of image readers


@dataclass(frozen=True, slots=True)
class Question:
    """A text query with its right answers.

    Attributes:
        text: the words to search for.
        pictures: names of the images that may come first.
        seconds: start and stop of the video scene that shows it; None where the video does not.
    """

    text: str
    pictures: frozenset[str]
    seconds: tuple[float, float] | None = None


QUESTIONS = (
    Question("a cup of coffee", frozenset({"coffee.png"}), (0.0, 3.0)),
    Question("a cat", frozenset({"chelsea.png"}), (3.0, 6.0)),
    Question("a rocket launch", frozenset({"rocket.jpg"}), (6.0, 9.0)),
    Question("motorbike", frozenset({"motorcycle_left.png", "motorcycle_right.png"})),  # a stereo pair: either is right
    Question("a flower", frozenset({"flower.jpg"})),
    Question("temple in Asia", frozenset({"china.jpg"})),
)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of an audio file to search for; `start` and `stop` are seconds of the file it is cut from."""

    source: str
    start: float
    stop: float

    @property
    def title(self) -> str:
        """The part and its file in words, such as `8 to 12 s of recording.flac`."""
        return f"{self.start:g} to {self.stop:g} s of {self.source}"


EXCERPTS = (Excerpt(RECORDING, 8.0, 12.0), Excerpt(FILM, 4.0, 8.0))
"""Each starts where a window of melstats starts. melstats compares windows eighth by eighth, so an excerpt that starts
between two windows finds its file, but not always its second."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of one query, best first, and whether the best is right."""

    title: str
    hits: tuple[Hit, ...]
    right: bool


@dataclass(frozen=True, slots=True)
class Demo:
    """The answers of one run: images and moments of the video found by words, and audio found by audio."""

    media: Path
    report: Report
    pictures: tuple[Answer, ...]
    moments: tuple[Answer, ...]
    sounds: tuple[Answer, ...]

    @property
    def right(self) -> bool:
        """Whether every answer is right."""
        return all(answer.right for answer in (*self.pictures, *self.moments, *self.sounds))


def run_demo(output: Path, *, overwrite: bool = False, on_progress: Callable[[Progress], None] | None = None) -> Demo:
    """Copy the media to a folder, embed them like any files, and search them.

    Args:
        output: the folder.
        overwrite: replace files of the demo's names that no demo wrote.
        on_progress: called with the progress of the job.

    Raises:
        FileExistsError: the folder holds a file or folder of one of these names that no demo wrote.
    """
    from ...jobs.run import embed

    folder, vectors = OutputFolder(output, overwrite=overwrite), output / VECTORS
    folder.check([*(f"{MEDIA}/{source.name}" for source in _media_sources()), *map(_excerpt_name, EXCERPTS), *SHEETS])
    # Before any file is copied: a folder of somebody else is refused while nothing has changed.
    again = folder.claim_folder(VECTORS)
    found = copy_demo_media(folder)
    report = embed(found, vectors, overwrite=again or overwrite, on_progress=on_progress)
    return Demo(
        media=output / MEDIA,
        report=report,
        pictures=tuple(find_images(vectors, question) for question in QUESTIONS),
        moments=tuple(find_moments(vectors, question) for question in QUESTIONS if question.seconds),
        sounds=tuple(find_audio(vectors, folder, excerpt) for excerpt in EXCERPTS),
    )


def copy_demo_media(folder: OutputFolder) -> list[Path]:
    """Copy the photos of both packages, the recording and the video below the folder; return their paths."""
    names = []
    for source in _media_sources():
        names.append(f"{MEDIA}/{source.name}")
        with folder.file(names[-1]) as file, source.open("rb") as data:
            shutil.copyfileobj(data, file)
    # The same order on every machine, so that the vectors have the same rows.
    return sorted(folder.path / name for name in names)


def _media_sources() -> tuple[Path, ...]:
    return (*_photo_files(), DATA / RECORDING, DATA / FILM)


def _photo_files() -> Iterator[Path]:
    for package, below in PICTURES.items():
        spec = find_spec(package)  # located but not imported, which is slow: only its files are needed
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra(
                "percepts demo needs the photos of scikit-image and scikit-learn: pip install 'percepts[demo]'"
            )
        folder = Path(spec.submodule_search_locations[0]) / below
        yield from sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def find_images(vectors: Path, question: Question) -> Answer:
    """Return the images nearest to the words."""
    from ...tasks.search import search

    hits = tuple(search(vectors, question.text, k=5, kind="image"))
    return Answer(question.text, hits, bool(hits) and name_of(hits[0]) in question.pictures)


def find_moments(vectors: Path, question: Question) -> Answer:
    """Return all moments of the video, nearest to the words first."""
    from ...tasks.search import search

    # More than the video has seconds, so that every moment is among them.
    hits = tuple(search(vectors, question.text, k=100, kind="video"))
    first, last = question.seconds or (0.0, 0.0)
    return Answer(question.text, hits, bool(hits) and first <= hits[0].record.start < last)


def find_audio(vectors: Path, folder: OutputFolder, excerpt: Excerpt) -> Answer:
    """Return the audio nearest to an excerpt that was made quieter and resampled, as a copy from elsewhere would be."""
    from ...tasks.search import search

    with folder.file(_excerpt_name(excerpt)) as file:
        _cut_excerpt(folder.path / MEDIA / excerpt.source, excerpt, file)
    hits = tuple(search(vectors, audio=folder.path / _excerpt_name(excerpt), k=5))
    found = bool(hits) and name_of(hits[0]) == excerpt.source
    return Answer(
        excerpt.title, hits, found and hits[0].record.start < excerpt.stop and hits[0].record.stop > excerpt.start
    )


def _excerpt_name(excerpt: Excerpt) -> str:
    return f"excerpt-of-{Path(excerpt.source).stem}.wav"


def _cut_excerpt(source: Path, excerpt: Excerpt, file: BinaryIO) -> None:
    import soundfile

    from ...media import mix_to_mono, open_audio
    from ...preprocess.resample import resample_clip
    from ...types import Clip

    clip = mix_to_mono(open_audio(source))
    first, last = (round((seconds - clip.start) * clip.rate) for seconds in (excerpt.start, excerpt.stop))
    # A copy lets go of the whole recording.
    cut = resample_clip(Clip(clip.data[:, first:last].copy(), "audio", clip.rate), 44_100)
    # Half as loud; soundfile takes (N, C).
    soundfile.write(file, 0.5 * cut.data.T, 44_100, format="WAV")


def name_of(hit: Hit) -> str:
    """Return the file name of a result, without its folder."""
    return Path(hit.record.source).name
