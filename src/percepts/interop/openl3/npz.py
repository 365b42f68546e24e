"""Write embeddings batch by batch to an npz file like that of `np.savez`, in the memory of one batch."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from ...support.outputs import output_file


def save_npz(path: Path, batches: Iterable[np.ndarray], times: Iterable[np.ndarray] | None = None) -> int:
    """Write `embedding` (T, D) float32, and `timestamps` (T,) float64 when `times` are given; return T.

    `times` is read after the last batch. The file appears complete, or not at all.
    """
    # The header stands first and holds the number of rows, which is known last. Beside the output, since /tmp may be
    # small or in memory.
    with TemporaryFile(dir=path.parent) as rows:
        count = width = 0
        for batch in batches:
            rows.write(np.ascontiguousarray(batch, "<f4").tobytes())
            count, width = count + len(batch), batch.shape[1]
        rows.seek(0)
        # Whether it may be replaced was checked before. Stored without compression, as by np.savez.
        with output_file(path, overwrite=True) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            # zipfile must know beforehand of members above 2 GiB. ZipInfo has a fixed date: the same vectors give the
            # same file.
            with archive.open(zipfile.ZipInfo("embedding.npy"), "w", force_zip64=True) as member:
                _npy_header(member, (count, width))
                shutil.copyfileobj(rows, member, 1 << 20)
            if times is not None:
                with archive.open(zipfile.ZipInfo("timestamps.npy"), "w") as member:
                    # Np.empty: float64, even of none.
                    np.lib.format.write_array(member, np.concatenate([*times, np.empty(0)]), allow_pickle=False)
    return count


def _npy_header(member: IO[bytes], shape: tuple[int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, header)
