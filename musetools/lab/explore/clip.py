"""A media file read once: waveform, images, how far the mouth is open; features, and a film for the browser."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from musetools import AudioError, Encoder, FeatureSpec, ParameterError, load_audio, probe_media
from musetools.audio.container import chosen_video, name_of, opened
from musetools.audio.shown import shown_frames
from musetools.check.findings import is_plausible, timed_rate
from musetools.features.extract import FeatureRows
from musetools.features.mel import whole_log_mel
from musetools.lips import MouthModel, MouthSeries, read_mouth
from musetools.lips.estimate import expected_and_sync
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["DEFAULT_FPS", "Clip", "Images", "film", "read_clip"]

DEFAULT_FPS = 25  # of a file that has no video
LONGEST_S = 300  # of a clip: its features, images and waveform stay in memory
LONGEST_SIDE = 256  # pixels; more is not seen in a panel of a figure
QUALITY = 95  # of the JPEGs in memory, some 10 kB each
SLACK_S = 0.5e-3  # containers that count in milliseconds put a frame up to half of one too late

# of a film
LARGEST = 16_000_000  # bits: Jupyter drops messages of more than some 3 MB
SOUND_BPS, MOST_BPS, LEAST_BPS = 32_000, 400_000, 20_000
OPUS_RATE = 48_000  # Hz
TICK = Fraction(1, 1000)  # WebM counts in ms
KEY_FRAMES = 12  # images from one that stands alone to the next: going to a place decodes no more than these


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a video, at most 256 pixels on a side."""

    times_s: np.ndarray  # (n_images,), when each appears, in seconds from the start of the sound; growing
    jpegs: tuple[bytes, ...]

    def at(self, time_s: float) -> int | None:
        """Return the number of the image on screen at an instant; None before the first and after the last."""
        usual = float(np.median(np.diff(self.times_s))) if len(self) > 1 else np.inf  # how long the last one stays
        number = int(np.searchsorted(self.times_s, time_s + SLACK_S, side="right")) - 1
        return number if number >= 0 and time_s + SLACK_S < self.times_s[-1] + usual else None

    def __len__(self) -> int:
        return len(self.jpegs)

    def __getitem__(self, number: int) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.jpegs[number])))


@dataclass(frozen=True, eq=False)
class Clip:
    """A media file, read once."""

    path: Path
    waveform: np.ndarray  # float32, (n_samples,): mono, 16 kHz, on the timeline of the images
    images: Images | None  # None for a file without video
    mouth: MouthSeries | None  # how it moves
    fps: Fraction | None = None  # of its video, by time stamps; None for a file without video
    _made: dict = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def duration_s(self) -> float:
        """Length of the waveform."""
        return len(self.waveform) / SAMPLE_RATE

    @cached_property
    def openings(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Seconds, and how far the mouth is open then: 0 is shut, 1 as wide as it gets; None without inner lips."""
        seconds, opening = self.mouth.opening if self.mouth else ((), ())
        if not len(seconds):
            return None
        return seconds, opening if self.mouth.drawn else opening / opening.max(initial=1e-9)

    def expected(self, encoder: Encoder) -> tuple[np.ndarray, np.ndarray] | None:
        """Return seconds, and the opening expected from sound then, of the mean and deviation of those seen."""
        if self.openings is None:
            return None
        key = "mouth", encoder.fingerprint, encoder.dtype
        if key not in self._made:
            model = MouthModel.load()
            fitting = encoder if model.fits(encoder) else None
            self._made[key] = expected_and_sync(self.mouth, self.waveform, fitting, model)[0][:, 0]
        lips, seen = self._made[key] - self._made[key].mean(), self.openings[1]
        lips = seen.mean() + lips * seen.std() / max(lips.std(), 1e-9)
        return np.arange(len(lips)) / ROW_RATE, np.clip(lips, 0, 1)

    @cached_property
    def log_mel(self) -> np.ndarray:
        """Its log-mel, normalised as Whisper's encoder gets it, shape (80, n_samples // 160)."""
        return whole_log_mel(self.waveform)

    def features(self, spec: FeatureSpec, encoder: Encoder) -> tuple[np.ndarray, int]:
        """Return features, made at the first call, and how many samples this spec's decoder gives."""
        key = spec, encoder.fingerprint, encoder.dtype
        if key not in self._made:
            rows = FeatureRows(self.path, encoder, spec)
            self._made[key] = rows.array(), rows.n_samples  # decoders that resample may differ by a sample
        return self._made[key]


def read_clip(path: str | os.PathLike) -> Clip:
    """Read a media file: waveform, images, and mouth openings where a csv of the same name lies beside it.

    Raises
    ------
    AudioError
        If sound or images cannot be used.
    ParameterError
        If the clip is longer than five minutes, or the csv beside it is no table of openings.
    """
    path = Path(path)
    waveform, table = load_audio(path), path.with_suffix(".csv")
    if len(waveform) > LONGEST_S * SAMPLE_RATE:
        raise ParameterError(
            f"{path.name} lasts {len(waveform) / SAMPLE_RATE:.0f} s; the explorer keeps all of a clip in memory and "
            f"takes up to {LONGEST_S} s. Use a part of it"
        )
    mouth = read_mouth(table) if table.is_file() else None
    video = probe_media(path).video
    rate = timed_rate(video) if video else None
    return Clip(path, waveform, _read_images(path), mouth, rate if rate and is_plausible(rate) else None)


def _read_images(path: Path) -> Images | None:
    """Decode the images of a media file; None if it has no moving picture."""
    with opened(path, f"the video of {name_of(path)}") as container:
        if (stream := chosen_video(container)) is None:
            return None
        stream.thread_type = "AUTO"
        jpegs = {frame.time: _jpeg(frame) for frame in shown_frames(container, stream)}
    if not jpegs:
        raise AudioError(f"none of the images of {path} can be decoded and has a time stamp. Export it again")
    times = sorted(jpegs)
    return Images(np.array(times) - times[0], tuple(jpegs[time] for time in times))


def _jpeg(frame: av.VideoFrame) -> bytes:
    shrink = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
    width, height = (max(1, round(shrink * side)) for side in (frame.width, frame.height))
    image, file = frame.to_image(width=width, height=height), io.BytesIO()
    image.rotate(frame.rotation, expand=True).save(file, "jpeg", quality=QUALITY, subsampling=0)
    return file.getvalue()


def film(clip: Clip) -> bytes:
    """Return a clip's images and waveform as a WebM (VP8, Opus), or its waveform alone.

    Every browser plays it, whatever the clip's own codecs are. Time 0 is the waveform's first sample, and images after
    its last one are left out.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        packets = [*_sound(container, clip), *(_images(container, clip) if clip.images else ())]
        for packet in sorted(packets, key=lambda one: one.dts * one.time_base):
            container.mux(packet)
    return file.getvalue()


def _sound(container: Any, clip: Clip) -> Iterator[Any]:
    stream = container.add_stream("libopus", rate=OPUS_RATE, layout="mono")
    stream.bit_rate = SOUND_BPS
    frame = av.AudioFrame.from_ndarray(clip.waveform[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
    yield from stream.encode(frame)
    yield from stream.encode(None)


def _images(container: Any, clip: Clip) -> Iterator[Any]:
    height, width, _ = clip.images[0].shape
    options = {"deadline": "realtime", "cpu-used": "8", "g": str(KEY_FRAMES)}
    stream = container.add_stream("libvpx", rate=round(clip.fps or DEFAULT_FPS), options=options)
    stream.width, stream.height, stream.pix_fmt = width // 2 * 2 or 2, height // 2 * 2 or 2, "yuv420p"
    stream.codec_context.time_base = TICK
    stream.codec_context.thread_count = 1  # on a busy machine, several took ten times as long
    stream.bit_rate = int(np.clip(LARGEST / max(clip.duration_s, 1) - SOUND_BPS, LEAST_BPS, MOST_BPS))
    for number, at_s in enumerate(clip.images.times_s[clip.images.times_s < clip.duration_s]):
        frame = av.VideoFrame.from_ndarray(clip.images[number], format="rgb24")
        frame = frame.reformat(stream.width, stream.height, "yuv420p")
        frame.pts, frame.time_base = round(at_s / TICK), TICK
        yield from stream.encode(frame)
    yield from stream.encode(None)
