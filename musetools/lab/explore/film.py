"""A clip as a browser plays it: its images and its waveform in one small WebM, both on the clip's timeline."""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from musetools.lab.explore.clip import DEFAULT_FPS, Clip
from musetools.timing import SAMPLE_RATE

__all__ = ["film"]

LARGEST = 16_000_000  # bits: Jupyter drops messages of more than some 3 MB
SOUND_BPS, MOST_BPS, LEAST_BPS = 32_000, 400_000, 20_000
OPUS_RATE = 48_000  # Hz
TICK = Fraction(1, 1000)  # WebM counts in ms
KEY_FRAMES = 12  # images from one that stands alone to the next: going to a place decodes no more than these


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
