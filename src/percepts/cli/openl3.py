"""Define `percepts openl3`: the options of openl3's own command, and convert, export and verify."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..support.outputs import check_output_file, check_output_files, output_file
from .memory import with_memory_limit
from .output import escape_text, print_json, print_table
from .output_options import Overwrite as Replace

if TYPE_CHECKING:
    from ..interop.openl3.models import EmbeddingModel

NOTHING = 255
"""Exit code where no file was found, like openl3's -1."""

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compute OpenL3 embeddings as openl3 does.",
)  # fmt: skip


Repr = Literal["linear", "mel128", "mel256"]
Content = Literal["music", "env"]
AudioSize = Literal["6144", "512"]
ImageSize = Literal["8192", "512"]
Frontend = Literal["kapre", "librosa", "trained"]
Resample = Literal["openl3", "soxr"]
Normalization = Literal["openl3", "trained"]

Inputs = Annotated[list[Path], typer.Argument(help="Files, or folders of them (without their subfolders).")]
Output = Annotated[
    Path | None, typer.Option("--output-dir", "-o", help="Folder for the npz files. [default: beside each input]")
]
Suffix = Annotated[str | None, typer.Option("--suffix", "-x", help="Suffix added to the names of the npz files.")]
InputRepr = Annotated[Repr, typer.Option("--input-repr", "-i", help="Spectrogram that the audio network reads.")]
ContentType = Annotated[
    Content, typer.Option("--content-type", "-c", help="Training data of the network: music or environmental video.")
]
AudioDim = Annotated[AudioSize, typer.Option("--audio-embedding-size", "-as", help="Length of an audio embedding.")]
Uncentred = Annotated[
    bool,
    typer.Option("--no-audio-centering", "-n", help="Use the start of each window as its timestamp, not its centre."),
]
Hop = Annotated[float, typer.Option("--audio-hop-size", "-t", help="Seconds from one window to the next.")]
AudioBatch = Annotated[
    int, typer.Option("--audio-batch-size", "-ab", min=1, help="Audio windows per batch; does not affect results.")
]
ImageDim = Annotated[ImageSize, typer.Option("--image-embedding-size", "-is", help="Length of an image embedding.")]
ImageBatch = Annotated[
    int, typer.Option("--image-batch-size", "-ib", min=1, help="Images per batch; does not affect results.")
]
AudioFrontend = Annotated[
    Frontend,
    typer.Option("--audio-frontend", "-af", help="Audio frontend; trained is that of openl3 0.3 and of the training."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", "-ow", help="Overwrite existing npz files.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
WeightsDir = Annotated[
    Path | None,
    typer.Option("--weights", help="Folder of the weight files. [default: $PERCEPTS_OPENL3_WEIGHTS, then the cache]"),
]
Runtime = Annotated[
    str, typer.Option(help="Library that runs the network: auto, ncnn, onnx, openvino, torch or torch-bf16.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Reproduce openl3's numbers even where they are wrong.")]
Dense = Annotated[
    bool,
    typer.Option(
        "--dense", help="Share the convolutions of overlapping windows: faster, with slightly different numbers."
    ),
]
ResampleBy = Annotated[Resample, typer.Option(help="Resampler: openl3 for its numbers, soxr for speed.")]
NormalizeBy = Annotated[
    Normalization, typer.Option(help="Image scaling: openl3 for its numbers, trained for images of any size.")
]
OneHop = Annotated[float | None, typer.Option("--hop", help="Seconds between vectors, for audio and images alike.")]


def _make_command(modality: str, summary: str) -> Callable[..., None]:
    """Return the command of one modality; as in openl3, each takes the options of all modalities."""

    def command(
        inputs: Inputs,
        output_dir: Output = None,
        suffix: Suffix = None,
        input_repr: InputRepr = "mel256",
        content_type: ContentType = "music",
        audio_embedding_size: AudioDim = "6144",
        no_audio_centering: Uncentred = False,
        audio_hop_size: Hop = 0.1,
        audio_batch_size: AudioBatch = 32,
        image_embedding_size: ImageDim = "8192",
        image_batch_size: ImageBatch = 32,
        audio_frontend: AudioFrontend = "kapre",
        overwrite: Overwrite = False,
        quiet: Quiet = False,
        weights: WeightsDir = None,
        runtime: Runtime = "auto",
        strict: Strict = False,
        dense: Dense = False,
        resample: ResampleBy = "openl3",
        normalization: NormalizeBy = "openl3",
        hop: OneHop = None,
    ) -> None:
        # Every option by its name, so that none has to be written twice.
        _run_modality(modality, locals())

    command.__name__ = modality
    command.__doc__ = summary  # Typer's help text
    return command


for _name, _summary in {
    "audio": "Write embeddings and timestamps of audio to NAME.npz.",
    "image": "Write embeddings of images to NAME.npz.",
    "video": "Write embeddings of video to NAME_audio.npz and NAME_image.npz.",
}.items():
    app.command(_name)(with_memory_limit(_make_command(_name, _summary)))


def _run_modality(modality: str, given: dict[str, Any]) -> None:
    files = _expand_files(given["inputs"])
    if not files:
        typer.echo(f"openl3: No files found in {' '.join(map(str, given['inputs']))}. Aborting.", err=True)
        raise typer.Exit(NOTHING)
    # The functions log where openl3 prints, so the level of the log decides.
    if given["quiet"]:
        import logging

        logging.getLogger("percepts").setLevel(logging.WARNING)
    from ..interop.openl3.files import check_outputs

    # openl3's functions take paths as str.
    folder = given["output_dir"] and str(given["output_dir"])
    check_outputs(files, modality, folder, given["suffix"], given["overwrite"], quiet=True)  # the run itself warns
    _PROCESS[modality](files, given, {
        "output_dir": folder,
        "suffix": given["suffix"],
        "overwrite": given["overwrite"],
        "verbose": not given["quiet"],
    })  # fmt: skip


def _expand_files(inputs: list[Path]) -> list[str]:
    """Return the given files, and the files in the given folders sorted by name."""
    found: list[str] = []
    for item in inputs:
        if item.is_dir():
            # Sorted, since a file system lists in any order; openl3 does not look into subfolders either.
            found += sorted(str(path) for path in item.iterdir() if path.is_file())
        elif item.is_file():
            found.append(str(item))
        else:
            raise FileNotFoundError(f"Could not find {item}")
    return found


def _audio_model(given: dict[str, Any]) -> EmbeddingModel:
    from ..interop.openl3.models import load_audio_embedding_model

    return load_audio_embedding_model(
        given["input_repr"], given["content_type"], int(given["audio_embedding_size"]),
        given["audio_frontend"], weights=given["weights"], runtime=given["runtime"],
    )  # fmt: skip


def _image_model(given: dict[str, Any]) -> EmbeddingModel:
    from ..interop.openl3.models import load_image_embedding_model

    return load_image_embedding_model(
        given["input_repr"], given["content_type"], int(given["image_embedding_size"]),
        weights=given["weights"], runtime=given["runtime"],
    )  # fmt: skip


def _process_audio(files: list[str], given: dict[str, Any], where: dict[str, Any]) -> None:
    from ..interop import openl3

    openl3.process_audio_file(
        files, **where, model=_audio_model(given), input_repr=given["input_repr"],
        # An option with choices is a str; the functions take the number.
        embedding_size=int(given["audio_embedding_size"]), center=not given["no_audio_centering"],
        hop_size=given["audio_hop_size"], batch_size=given["audio_batch_size"],
        frontend=given["audio_frontend"], strict=given["strict"], resample=given["resample"],
        dense=given["dense"],
    )  # fmt: skip


def _process_images(files: list[str], given: dict[str, Any], where: dict[str, Any]) -> None:
    from ..interop import openl3

    openl3.process_image_file(
        files, **where, model=_image_model(given), embedding_size=int(given["image_embedding_size"]),
        batch_size=given["image_batch_size"], normalization=given["normalization"],
    )  # fmt: skip


def _process_videos(files: list[str], given: dict[str, Any], where: dict[str, Any]) -> None:
    from ..interop import openl3

    openl3.process_video_file(
        files, **where, audio_model=_audio_model(given), image_model=_image_model(given),
        input_repr=given["input_repr"], audio_embedding_size=int(given["audio_embedding_size"]),
        audio_center=not given["no_audio_centering"], audio_hop_size=given["audio_hop_size"],
        image_embedding_size=int(given["image_embedding_size"]), audio_batch_size=given["audio_batch_size"],
        image_batch_size=given["image_batch_size"], audio_frontend=given["audio_frontend"],
        strict=given["strict"], resample=given["resample"], normalization=given["normalization"],
        dense=given["dense"], hop=given["hop"],
    )  # fmt: skip


_PROCESS: dict[str, Callable[[list[str], dict[str, Any], dict[str, Any]], None]] = {
    "audio": _process_audio,
    "image": _process_images,
    "video": _process_videos,
}


@app.command()
def convert(
    files: Annotated[list[Path], typer.Argument(help="Weight files of openl3: .h5 or .h5.gz.")],
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "-o", help="Folder for the safetensors files. [default: beside each input]"),
    ] = None,
    overwrite: Replace = False,
) -> None:
    """Convert weight files to safetensors, which need no h5py.

    percepts openl3 convert openl3_audio_mel256_music-v0_4_0.h5.gz
    """
    from ..networks.openl3.plan import digest
    from ..weights import openl3 as openl3_weights

    # All names are known before the first file is read, so that a clash writes nothing.
    outs = [(output_dir or file.parent) / f"{_weights_stem(file)}.safetensors" for file in files]
    try:
        check_output_files(outs, inputs=files, overwrite=overwrite)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="FILES") from error
    for file, out in zip(files, outs, strict=True):
        weights = openl3_weights.read_weights(file, openl3_weights.find_modality(file))
        with output_file(out, inputs=files, overwrite=overwrite) as target:
            target.write(openl3_weights.to_safetensors(weights))
        typer.echo(f"{escape_text(str(out))}: {weights.modality}, sha256 of its arrays {digest(weights)}")


def _weights_stem(file: Path) -> str:
    """Return the file name without version and ending, which is how weights are found."""
    name = file.name.removesuffix(".gz").removesuffix(".h5").removesuffix(".safetensors")
    return name.removesuffix("-v0_4_0").removesuffix("-v0_2_0")


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="ONNX file to write.")],
    modality: Annotated[str, typer.Argument(help="Network to export: audio or image.")] = "audio",
    file: Annotated[Path | None, typer.Option("--file", help="Weight file. [default: the published one]")] = None,
    input_repr: InputRepr = "mel256",
    content_type: ContentType = "music",
    embedding_size: Annotated[
        int | None,
        typer.Option(
            "--embedding-size", "-s", help="Length of an embedding. [default: 6144 for audio, 8192 for images]"
        ),
    ] = None,
    audio_frontend: AudioFrontend = "kapre",
    weights: WeightsDir = None,
    overwrite: Replace = False,
) -> None:
    """Export a model to ONNX and compare its output with ours.

    The frontend is part of the model, which reads one second of audio at 48 kHz; with -af librosa, a spectrogram.

    percepts openl3 export audio -i mel256 -c music -s 512 -o openl3.onnx
    """
    from ..interop.openl3 import models
    from ..interop.openl3.export import export as write

    if modality not in ("audio", "image"):
        raise typer.BadParameter(f"expected audio or image, got {modality!r}")
    # Before the weights are downloaded.
    check_output_file(output, inputs=_weight_files(file, weights), overwrite=overwrite)
    size = embedding_size or (6144 if modality == "audio" else 8192)  # openl3's defaults
    names = input_repr, content_type
    if modality == "image":
        model = (
            models.load_image_embedding_model_from_path(file, size)
            if file
            else models.load_image_embedding_model(*names, size, weights=weights)
        )
    elif file:
        model = models.load_audio_embedding_model_from_path(file, names[0], size, audio_frontend)
    else:
        model = models.load_audio_embedding_model(*names, size, audio_frontend, weights=weights)
    made = write(model, output, overwrite=overwrite)
    shape = " x ".join(map(str, made.shape))
    typer.echo(
        f"{escape_text(str(output))}: {made.input} {shape} to embedding batch x {size}; "
        f"largest difference from our output on noise {made.error:.1e}"
    )


def _weight_files(file: Path | None, folder: Path | None) -> list[Path]:
    """Return the weight files that a command may read."""
    return [*([file] if file else []), *(folder.iterdir() if folder and folder.is_dir() else ())]


@app.command()
def verify(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder with upstream's test recordings and npz files (its tests/data, without folders)."
        ),
    ] = None,
    weights: WeightsDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare results of real weights with upstream's regression files.

    percepts openl3 verify --data openl3-tests/ --weights openl3-weights/
    """
    from dataclasses import asdict

    from ..interop.openl3 import verify as references

    folder = data or Path.cwd()
    missing = references.find_missing(folder, weights)
    rows = list(references.verify_references(folder, weights))
    if as_json:
        print_json([asdict(row) | {"ok": row.ok} for row in rows])
    else:
        print_table(
            ("file", "what", "windows", "cosine min", "mean", "largest difference", ""),
            [_reference_cells(r) for r in rows],
        )
    for name in missing:
        typer.echo(f"missing: {name}", err=True)
    if missing:
        typer.echo(
            "Put weights into --weights DIR or PERCEPTS_OPENL3_WEIGHTS=DIR; download recordings and npz files from "
            f"{references.ADDRESS} and put them, without folders, into --data DIR",
            err=True,
        )
    # A file that cannot be compared fails, too: nothing was verified.
    if not all(row.ok for row in rows):
        raise typer.Exit(1)


def _reference_cells(row: Any) -> tuple[str, ...]:
    if row.why:
        return (row.name, row.what, "", "", "", "", row.why)
    figures = (f"{row.cosine_min:.6f}", f"{row.cosine_mean:.6f}", f"{row.difference:.2g}")
    return (row.name, row.what, str(row.windows), *figures, "agrees" if row.ok else "differs")
