"""Small media files for tests, all made from the bundled speech."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import soundfile
from scipy.signal import resample_poly

SPEECH = Path(__file__).resolve().parents[1] / "data" / "speech.flac"
SPEECH_RATE = 44_100
VIDEO_FPS = 25
FASTSTART = {"movflags": "+faststart"}  # the index in front, so that half a file still opens


@cache
def speech(seconds: float = 3, rate: int = SPEECH_RATE, channels: int = 2) -> np.ndarray:
    """Give the beginning of the speech as 16-bit samples, (n_samples, n_channels)."""
    pcm, _ = soundfile.read(SPEECH, dtype="int16", frames=int(seconds * SPEECH_RATE))
    if rate != SPEECH_RATE:
        pcm = resample_poly(pcm / 32768, rate, SPEECH_RATE)
        pcm = np.round(pcm * 32767).astype(np.int16)
    return pcm if channels == 2 else pcm[:, :1]


def reference(pcm: np.ndarray, rate: int) -> np.ndarray:
    """Mix 16-bit samples to mono and resample them to 16 kHz with a resampler that musetools does not use."""
    return resample_poly(pcm.astype(float).mean(axis=1) / 32768, 16_000, rate)


def write_media(path: Path, pcm: np.ndarray, rate: int, subtype: str | None = None, **options: str) -> Path:
    """Write 16-bit samples in the format that the file's name asks for; an mp4 gets a picture, too."""
    codec = {".mp3": "libmp3lame", ".m4a": "aac", ".mp4": "aac", ".mkv": "aac"}.get(path.suffix)
    if codec is None:
        # as floats: libsndfile would store whole numbers unscaled in a float file
        soundfile.write(path, pcm / 32768, rate, subtype=subtype)
        return path
    with av.open(path, "w", options=options) as container:
        sound = list(sound_packets(container, pcm, rate, codec))
        picture = list(_picture(container, len(pcm) / rate)) if path.suffix == ".mp4" else []
        mux(container, sound + picture)
    return path


def mux(container: av.container.OutputContainer, packets: Iterable[av.Packet]) -> None:
    """Write packets in the order in which they are decoded."""
    container.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))


def copied(source: Path, path: Path, start_s: float = 0, keep: Callable[[av.Packet], bool] = lambda _: True) -> Path:
    """Copy packets without decoding, from a time on as phones trim: an edit list hides what comes before it."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is not None and keep(packet):
                shift = round(start_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    return path


def write_silent_film(path: Path, seconds: float = 1) -> Path:
    """Write a video without an audio stream."""
    with av.open(path, "w") as container:
        container.mux(list(_picture(container, seconds)))
    return path


def write_tone(path: Path, minutes: int, rate: int) -> Path:
    """Write a long FLAC stream in blocks: a file of its own, or inside another container, as the name says."""
    second = (8000 * np.sin(2 * np.pi * 220 * np.arange(rate) / rate)).astype(np.int16)
    with av.open(path, "w") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono")
        for i in range(60 * minutes):
            container.mux(stream.encode(_frame(second[:, None], rate, i * rate)))
        container.mux(stream.encode())
    return path


def sound_packets(
    container: av.container.OutputContainer, pcm: np.ndarray, rate: int, codec: str, pts: int = 0, **options: str
) -> Iterator[av.Packet]:
    """Encode 16-bit samples, the first of which has the time stamp `pts`; options of the codec."""
    stream = container.add_stream(codec, rate=rate, layout="stereo" if pcm.shape[1] == 2 else "mono", options=options)
    yield from stream.encode(_frame(pcm, rate, pts))
    yield from stream.encode()


def _frame(pcm: np.ndarray, rate: int, pts: int) -> av.AudioFrame:
    layout = "stereo" if pcm.shape[1] == 2 else "mono"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, pts, Fraction(1, rate)
    return frame


def _picture(container: av.container.OutputContainer, seconds: float) -> Iterator[av.Packet]:
    stream = container.add_stream("mpeg4", rate=VIDEO_FPS)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    for i in range(int(seconds * VIDEO_FPS)):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), i % 256, np.uint8), format="rgb24")
        yield from stream.encode(frame)
    yield from stream.encode()
