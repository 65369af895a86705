"""A mouth over time: four measures with time stamps, from our tracker or from another one, kept by the file's hash."""

import csv
import hashlib
import io
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musetools.errors import MusetoolsError, ParameterError
from musetools.files import make_folder, read_npy, sha256_of, write_whole

__all__ = ["MEASURES", "MouthSeries", "kept", "read_mouth"]

MEASURES = ("inner", "outer", "width", "chin")
COLUMNS = (*MEASURES, "opening", "time_s")
FITS_S = 0.5  # between the ends of a series and of its clip
LARGEST = 1e9  # of a measure, in any unit


@dataclass(frozen=True)
class MouthSeries:
    """The mouth of one face in a video."""

    times_s: np.ndarray  # (n_frames,): when each frame is shown, from the first shown frame
    values: np.ndarray  # (n_frames, 4): inner, outer, width, chin, as ratios; NaN without a face
    notes: tuple[str, ...] = ()  # several faces, frames without a face, cuts
    places: np.ndarray | None = None  # (n_frames, 3): middle of the lips, x and y, and height of the face, in pixels
    drawn: bool = False  # by the loudness of the sound, as in the sample clips: not a person's

    @property
    def seen(self) -> np.ndarray:
        """Which frames have a face, (n_frames,)."""
        return np.isfinite(self.values).any(axis=1)

    @property
    def opening(self) -> tuple[np.ndarray, np.ndarray]:
        """Times and inner lips, (n,) each, where there is a face."""
        known = np.isfinite(self.values[:, 0])
        return self.times_s[known], self.values[known, 0]


def kept(folder: Path, video: str | os.PathLike, how: tuple, make: Callable[[], MouthSeries]) -> MouthSeries:
    """Return the series of a video, measured so, that is kept under its file's hash; make and keep it if there is none.

    What is damaged, for which numpy has many errors, is made again; a folder that cannot be written costs time alone.
    """
    try:
        with open(video, "rb") as file:
            path = folder / f"{sha256_of(file)[:32]}-{hashlib.sha256(repr(how).encode()).hexdigest()[:8]}.npz"
    except OSError:
        return make()  # which says what is wrong with it
    with suppress(Exception), open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
        return MouthSeries(found["times_s"], found["values"], tuple(found["notes"].tolist()), found["places"])
    series, content = make(), io.BytesIO()
    np.savez(content, **vars(series) | {"notes": np.array(series.notes, str)})
    with suppress(MusetoolsError):
        make_folder(folder)
        write_whole(path, content.getvalue())
    return series


def read_mouth(path: str | os.PathLike, frames_s: np.ndarray | None = None) -> MouthSeries:
    """Read another tracker's series of a clip.

    Parameters
    ----------
    path : path
        A ``.csv`` with a head of names, some of inner, outer, width and chin, or else opening for a mouth that was
        drawn by loudness, and optionally ``time_s`` (seconds from the first shown frame); others are not read. Or a
        ``.npy`` of shape (n_frames,), the inner lips, or (n_frames, 4). In any unit; NaN or an empty cell: no face.
    frames_s : ndarray of float, shape (n_frames,), optional
        When the clip's frames are shown. The series has a value for each, or times of its own that cover the clip;
        left out, it must have times.

    Returns
    -------
    MouthSeries

    Raises
    ------
    ParameterError
        If the file is not such a series, never moves, or does not fit the clip.
    """
    try:
        columns = _columns(Path(path))
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise ParameterError(
            f"{path} is no series of a mouth: {error}. See musetools.lips.read_mouth for what one is"
        ) from None
    times, drawn = columns.pop("time_s", None), not {*MEASURES} & {*columns}
    columns |= {"inner": columns["opening"]} if drawn else {}
    values = {name: columns[name] for name in MEASURES if name in columns}
    n_values = len(next(iter(values.values())))
    if times is None and (frames_s is None or n_values != len(frames_s)):
        wanted = "no column time_s" if frames_s is None else f"{n_values} values, the clip {len(frames_s)} frames"
        raise ParameterError(f"{path} has {wanted}. Give a value for each frame, or a column time_s")
    times = np.asarray(frames_s if times is None else times, np.float64)
    if n_values < 2 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ParameterError(f"{path} must have two values or more, and times that rise. Copy or export it again")
    if frames_s is not None and abs(times[-1] - frames_s[-1]) > FITS_S:
        ends = f"ends at {times[-1]:.2f} s, the clip's frames at {frames_s[-1]:.2f} s"
        raise ParameterError(f"{path} {ends}. Give the series of this clip, times in seconds")
    if any((np.abs(column) > LARGEST).any() for column in values.values()):
        raise ParameterError(f"{path} holds values beyond {LARGEST:g}, which no mouth has. Copy or export it again")
    if all(np.nanstd(column) == 0 for column in values.values() if np.isfinite(column).any()):
        raise ParameterError(f"{path}: the mouth never moves, so nothing can be learned from it. Use another clip")
    nothing = np.full(n_values, np.nan)
    return MouthSeries(times, np.stack([values.get(name, nothing) for name in MEASURES], axis=1), drawn=drawn)


def _columns(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npy":
        values = np.atleast_2d(read_npy(path).astype(np.float64).T)
        if len(values) not in (1, len(MEASURES)):
            raise ValueError(f"it has {len(values)} columns, not 1 or {len(MEASURES)}")
        return dict(zip(MEASURES, values, strict=False))
    with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark before the head
        reader = csv.DictReader(file, skipinitialspace=True)
        table, names = [*reader], reader.fieldnames or []
    if not table or not {*MEASURES, "opening"} & {*names}:
        wanted = f"columns of {', '.join(MEASURES)} or opening"
        raise ValueError(f"it must have {wanted}, with commas between; got {len(table)} rows of {names}")
    return {name: np.array([float(row[name] or "nan") for row in table]) for name in COLUMNS if name in names}
