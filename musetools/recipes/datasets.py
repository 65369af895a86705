"""What a training Dataset takes for each frame, read by numbered files; and folders whose numbering drifts (K12)."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np

from musetools.chunks.rows import chunk_rows
from musetools.chunks.sequence import gather
from musetools.errors import ParameterError, as_array, one_of
from musetools.recipes.rows import WINDOW_ROWS
from musetools.recipes.sampler import MUSETALK_FPS
from musetools.recipes.trace import Trace, trace_rows

__all__ = ["audit_frame_files", "numbered_encoder", "numbered_files", "trace_dataset"]

LAYOUTS = ("frames", "clip", "stacked")
IMAGES = (".png", ".jpg", ".jpeg")


def numbered_encoder(features: np.ndarray) -> Any:
    """Return a stand-in for Hugging Face's Whisper, so that code which runs the encoder itself can be traced.

    Parameters
    ----------
    features : ndarray, shape (n_rows, n_layers, width)
        What `trace_rows` sends, whole 30 s windows of 1500 rows: ``encoder(mel).hidden_states`` are the next window for
        each item of the batch.

    Raises
    ------
    ParameterError
        From the stand-in, if it is asked for more windows than there are.

    Notes
    -----
    ``trace_rows(lambda f: processor.get_whisper_chunk(mels, "cpu", dtype, numbered_encoder(f), n_samples, fps), 3000)``
    """
    import torch

    windows = iter(torch.from_numpy(np.ascontiguousarray(features)).split(WINDOW_ROWS))

    def encoder(mel: Any, **_: Any) -> SimpleNamespace:
        batch = list(islice(windows, len(mel)))
        if len(batch) < len(mel):
            raise ParameterError(
                f"the encoder is asked for more windows than {len(features)} numbered rows fill: send whole windows, "
                f"{WINDOW_ROWS} rows for each that the code encodes"
            )
        return SimpleNamespace(hidden_states=torch.stack(batch).unbind(2))

    return SimpleNamespace(encoder=encoder)


def trace_dataset(
    dataset: Callable[[Path], Iterable[Any]],
    layout: str,
    n_rows: int = 300,
    *,
    n_layers: int = 5,
    width: int = 384,
) -> Trace:
    """Read the index matrix of anybody's training Dataset, by numbered files.

    Parameters
    ----------
    dataset : callable
        Takes the folder of numbered files and returns, or yields, the chunk of each frame, in order, by the user's own
        Dataset: ``lambda folder: [item["audio"] for item in Mine(folder)]``.
    layout : {"frames", "clip", "stacked"}
        MuseTalk's ``k.npy`` of rows 2k and 2k + 1, ``(2 · n_layers, width)``; ``clip.npy`` ``(n_rows, n_layers,
        width)``; ``clip.npy`` of 25 fps chunks with context (2, 2), ``(n, 10 · n_layers, width)``.
    n_rows : int, default 300
        Rows of the clip.
    n_layers, width
        As in `trace_rows`.

    Returns
    -------
    Trace

    Raises
    ------
    TraceError
        As `trace_rows`.
    ParameterError
        If there is no such layout.
    """
    one_of("layout", layout, LAYOUTS)

    def chunks(features: np.ndarray) -> Iterator[Any]:
        with TemporaryDirectory() as name:
            folder = Path(name)
            if layout == "frames":
                for k in range(len(features) // 2):
                    np.save(folder / f"{k}.npy", features[2 * k : 2 * k + 2].reshape(-1, width))
            else:
                stacked = gather(features, chunk_rows(len(features), MUSETALK_FPS)) if layout == "stacked" else features
                np.save(folder / "clip.npy", stacked)
            made = dataset(folder)
            # a Dataset that never raises IndexError ends where it says, as in a DataLoader
            yield from (made[i] for i in range(len(made))) if hasattr(made, "__len__") else made

    return trace_rows(chunks, n_rows, n_layers=n_layers, width=width)


def audit_frame_files(audio: str | os.PathLike, images: str | os.PathLike, rows: Sequence[int]) -> tuple[str, ...]:
    """Say from which clip and frame a ``train_codes`` folder's audio and images part (K12).

    Parameters
    ----------
    audio, images : path
        Folders of ``k.npy`` and of ``k.png``, to which clips were appended.
    rows : sequence of int
        Feature rows of each clip, in the order in which they were appended: ``n_samples // 320``.

    Returns
    -------
    tuple of str
        A sentence for each fault; none where the numbers agree.

    Raises
    ------
    ParameterError
        If a folder is not there or holds no numbered files, or no clips are named.

    Notes
    -----
    Source: ``scripts/data.py`` of the branch ``train_codes`` (TMElyralab/MuseTalk): npy files advance rows // 2 a clip,
    images two more at 25 fps.
    """
    counts = as_array(rows)
    if counts.ndim != 1 or counts.dtype.kind not in "iu":
        raise ParameterError(f"rows must be the feature rows of each clip, such as [3000, 1500]; got {rows!r:.60}")
    faults: list[str] = []
    n_audio, n_images = _count(Path(audio), (".npy",), faults), _count(Path(images), IMAGES, faults)
    if n_audio != (expected := sum(n // 2 for n in rows)):
        faults.append(f"{n_audio} npy files, expected {expected} of {len(rows)} clips")
    if n_images != n_audio:
        (apart, rest), last = divmod(n_images - n_audio, len(rows)), len(rows) - 1
        where = "not as many in each clip" if rest else f"{apart:+d} frames a clip"
        if last and not rest:
            where += (
                f". Clip 0 is right, from clip 1 on, frame {rows[0] // 2}, audio is {apart:+d} frames ahead of images, "
                f"in the last clip {apart * last:+d}"
            )
        faults.append(f"{n_images} images beside {n_audio} npy files: {where}. Number each clip in a folder of its own")
    return tuple(faults)


def numbered_files(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], int | None]:
    """Return the files ``k.npy`` (or of other suffixes) of a folder in order, and the first number that is missing."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.stem.isdecimal())
    files = sorted(found, key=lambda path: int(path.stem))
    names = {path.stem for path in files}  # 03.npy is not what training reads as 3.npy
    return files, next((k for k in range(max(1, len(files))) if str(k) not in names), None)


def _count(folder: Path, suffixes: tuple[str, ...], faults: list[str]) -> int:
    """Count numbered files, and add a fault if a number is missing; ParameterError without any file."""
    try:
        files, missing = numbered_files(folder, suffixes)
    except OSError as error:
        raise ParameterError(f"{folder} cannot be searched ({error.strerror}). Name the folder of one clip") from None
    if not files:
        raise ParameterError(f"{folder} holds no numbered {' or '.join(suffixes)} files. Name the folder of one clip")
    if missing is not None:
        name, first = f"{missing}{files[0].suffix}", files[0].name
        found = f"{name} is missing among {len(files)} files, of which the first is {first}"
        faults.append(f"{folder}: {found}. Number them from 0, without leading zeros or a gap")
    return len(files)
