"""A mouth over time: four measures with time stamps, from our tracker or from another one, kept by the file's hash."""

import io
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from musetools.errors import MusetoolsError, ParameterError
from musetools.files import sha256_of, write_whole

__all__ = ["MEASURES", "MouthSeries", "from_cache", "kept_name", "read_mouth", "to_cache"]

MEASURES = ("inner", "outer", "width", "chin")


@dataclass(frozen=True)
class MouthSeries:
    """The mouth of one face in a video."""

    times_s: np.ndarray  # (n_frames,): when each frame is shown, from the first shown frame
    values: np.ndarray  # (n_frames, 4): inner, outer, width, chin, as ratios; NaN without a face
    cuts_s: tuple[float, ...] = ()  # cuts of scene
    notes: tuple[str, ...] = ()  # several faces, frames without a face, cuts

    @property
    def seen(self) -> np.ndarray:
        """Which frames have a face, (n_frames,)."""
        return np.isfinite(self.values).any(axis=1)


def kept_name(video: str | os.PathLike, how: tuple) -> str:
    """Return the name under which the series of a video, measured so, is kept."""
    with open(video, "rb") as file:
        return f"{sha256_of(file)[:32]}-{sha256_of(io.BytesIO(repr(how).encode()))[:8]}.npz"


def from_cache(path: Path) -> MouthSeries | None:
    """Return a kept series; None where there is none that can be read."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            return MouthSeries(kept["times_s"], kept["values"], tuple(kept["cuts_s"].tolist()), tuple(kept["notes"]))
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def to_cache(path: Path, series: MouthSeries) -> None:
    """Keep a series."""
    content = io.BytesIO()
    np.savez(
        content, times_s=series.times_s, values=series.values, cuts_s=series.cuts_s, notes=np.array(series.notes, str)
    )
    with suppress(MusetoolsError, OSError):  # a folder that cannot be written costs time alone
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.getvalue())


def read_mouth(path: str | os.PathLike, frames_s: np.ndarray) -> MouthSeries:
    """Read another tracker's series of a clip.

    Parameters
    ----------
    path : path
        A ``.csv`` with a head of names, some of inner, outer, width and chin, and optionally ``time_s`` (seconds from
        the first shown frame); or a ``.npy`` of shape (n_frames,), the opening, or (n_frames, 4), the four measures.
        In any unit; NaN or an empty cell without a face.
    frames_s : ndarray of float, shape (n_frames,)
        When the clip's frames are shown; the series has a value for each, unless it has times of its own.

    Returns
    -------
    MouthSeries

    Raises
    ------
    ParameterError
        If the file is not such a series, or of another length than the clip.
    """
    try:
        columns = _columns(Path(path))
    except (OSError, ValueError) as error:
        raise ParameterError(f"{path} is no series of a mouth: {error}") from None
    times = columns.pop("time_s", None)
    n_values = len(next(iter(columns.values()), ()))
    if times is None and n_values != len(frames_s):
        raise ParameterError(
            f"{path} has {n_values} values, the clip {len(frames_s)} frames. Give one a frame, or a column time_s"
        )
    times = np.asarray(frames_s if times is None else times, np.float64)
    unknown = set(columns) - set(MEASURES)
    if not columns or unknown or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ParameterError(f"{path} must have columns of {', '.join(MEASURES)} and rising times; got {[*columns]}")
    nothing = np.full(n_values, np.nan)
    return MouthSeries(times, np.stack([columns.get(name, nothing) for name in MEASURES], axis=1))


def _columns(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npy":
        values = np.atleast_2d(np.load(path, allow_pickle=False).astype(np.float64).T)
        return dict(zip(MEASURES, values, strict=False)) if len(values) in (1, len(MEASURES)) else {}
    if not path.stat().st_size:
        raise ValueError("it is empty")
    table = np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True, dtype=np.float64, encoding="utf-8"))
    return {name: table[name] for name in table.dtype.names or ()}
