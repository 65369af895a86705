"""A media file read once: its sound, its pictures, and how far the mouth is open; features as they are asked for."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from musetools.audio.decode import name_of
from musetools.audio.load import load_audio
from musetools.errors import AudioError, ParameterError
from musetools.features.encoder import Encoder
from musetools.features.extract import FeatureRows
from musetools.features.mel import whole_log_mel
from musetools.features.spec import FeatureSpec
from musetools.lab.speech import read_openings
from musetools.timing import SAMPLE_RATE

__all__ = ["Clip", "Pictures", "read_clip", "read_pictures"]

LONGEST_S = 300  # of a clip: its features, pictures and sound stay in memory
LONGEST_SIDE = 256  # pixels; more is not seen in a panel of a figure
QUALITY = 95  # of the JPEGs in memory: some 10 kB a picture, so minutes of video are no burden
ROUNDED_S = 1e-3  # containers that count in milliseconds put a frame up to half of one too late


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a video, at most 256 pixels on a side.

    Attributes
    ----------
    times_s : ndarray of float64, shape (n_pictures,)
        When each appears, in seconds from the start of the sound; growing.
    jpegs : tuple of bytes
        The pictures.
    slack_s : float
        By how much a time stamp may be late because its container rounds.
    """

    times_s: np.ndarray
    jpegs: tuple[bytes, ...]
    slack_s: float = 1e-6

    def at(self, time_s: float) -> int | None:
        """Return the number of the picture that is on screen at an instant; None before the first, after the last."""
        number = int(np.searchsorted(self.times_s, time_s + self.slack_s, side="right")) - 1
        return number if number >= 0 and time_s + self.slack_s < self.end_s else None

    @property
    def end_s(self) -> float:
        """When the last picture goes: it stays as long as pictures usually do."""
        usual = float(np.median(np.diff(self.times_s))) if len(self.times_s) > 1 else np.inf
        return float(self.times_s[-1]) + usual

    def __len__(self) -> int:
        return len(self.jpegs)

    def __getitem__(self, number: int) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.jpegs[number])))


@dataclass(frozen=True, eq=False)
class Clip:
    """A media file, read once.

    Attributes
    ----------
    path : Path
        The file.
    waveform : ndarray of float32, shape (n_samples,)
        Mono, 16 kHz, decoded as the ffmpeg program would.
    pictures : Pictures or None
        None for a file of sound alone.
    openings : (ndarray, ndarray) or None
        Seconds, and how far the mouth is open then (0 to 1), from the csv of the same name beside the file.
    """

    path: Path
    waveform: np.ndarray
    pictures: Pictures | None
    openings: tuple[np.ndarray, np.ndarray] | None
    _made: dict = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def duration_s(self) -> float:
        """Length of the sound."""
        return len(self.waveform) / SAMPLE_RATE

    @cached_property
    def log_mel(self) -> np.ndarray:
        """Its log-mel, normalised as Whisper's encoder gets it, shape (80, n_samples // 160)."""
        return whole_log_mel(self.waveform)

    def features(self, spec: FeatureSpec, encoder: Encoder) -> tuple[np.ndarray, int]:
        """Return features, made at the first call, and the samples that there are to this spec's decoder."""
        key = spec, encoder.fingerprint
        if key not in self._made:
            rows = FeatureRows(self.path, encoder, spec)
            self._made[key] = rows.array(), rows.n_samples  # decoders that resample may differ by a sample
        return self._made[key]


def read_clip(path: str | os.PathLike) -> Clip:
    """Read a media file: sound, pictures, and mouth openings where a csv of the same name lies beside it.

    Raises
    ------
    AudioError
        If sound or pictures cannot be used.
    ParameterError
        If the clip is longer than five minutes, or the csv beside it is no table of openings.
    """
    path = Path(path)
    waveform, table = load_audio(path), path.with_suffix(".csv")
    if len(waveform) > LONGEST_S * SAMPLE_RATE:
        raise ParameterError(
            f"{path.name} lasts {len(waveform) / SAMPLE_RATE:.0f} s; the explorer keeps all of a clip in memory and "
            f"takes up to {LONGEST_S} s. Cut out the stretch that is to be shown"
        )
    return Clip(path, waveform, read_pictures(path), read_openings(table) if table.is_file() else None)


def read_pictures(path: str | os.PathLike) -> Pictures | None:
    """Decode the pictures of a video file.

    Parameters
    ----------
    path : path
        A media file that PyAV can open.

    Returns
    -------
    Pictures or None
        None for a file without moving picture; a song's cover is none.

    Raises
    ------
    AudioError
        If the file cannot be opened, or its pictures not be decoded.
    """
    import av

    name = name_of(path)
    try:
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:
            stream = next((s for s in container.streams.video if not s.disposition & s.disposition.attached_pic), None)
            if stream is None:
                return None
            shown = dict(_decoded(container, stream))
            slack = min(float(stream.time_base) / 2, ROUNDED_S)
    except av.FFmpegError as error:
        raise AudioError(
            f"the pictures of {name} cannot be decoded ({error.strerror}). Copy or export it again"
        ) from None
    times = sorted(shown)
    return Pictures(np.array(times), tuple(shown[t] for t in times), slack) if times else None


def _decoded(container: Any, stream: Any) -> Iterator[tuple[float, bytes]]:
    """Yield each picture's time on the sound's clock, and the picture as a JPEG."""
    sound = container.streams.best("audio")
    zero = float((sound.start_time or 0) * sound.time_base) if sound else 0.0
    stream.thread_type = "AUTO"
    for frame in container.decode(stream):
        if frame.time is not None:
            yield frame.time - zero, _jpeg(frame)


def _jpeg(frame: Any) -> bytes:
    shrink = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
    size = {"width": max(1, round(frame.width * shrink)), "height": max(1, round(frame.height * shrink))}
    upright = np.rot90(frame.to_ndarray(format="rgb24", **size), round(frame.rotation / 90))
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(upright)).save(file, "jpeg", quality=QUALITY, subsampling=0)
    return file.getvalue()
