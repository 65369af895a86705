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
CLOCK = 90_000  # ticks a second of the time stamps that frames get
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
        n_frames = len(pcm) * VIDEO_FPS // rate if path.suffix == ".mp4" else 0
        mux(container, sound + list(picture(container, n_frames / VIDEO_FPS, "mpeg4")) if n_frames else sound)
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
        container.mux(list(picture(container, seconds, "mpeg4")))
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


def picture(
    container: av.container.OutputContainer,
    seconds: float,
    codec: str = "libx264",
    fps: int = VIDEO_FPS,
    start_s: float = 0,
    b_frames: int = 3,
) -> Iterator[av.Packet]:
    """Encode frames of an even rate; B-frames in H.264 alone."""
    times = start_s + np.arange(round(seconds * fps)) / fps
    for packet in film_packets(container, times, Fraction(fps), b_frames, codec):
        packet.duration = CLOCK // fps
        yield packet


def film_packets(
    container: av.container.OutputContainer,
    times: Iterable[float],
    coded_fps: Fraction,
    b_frames: int = 0,
    codec: str = "libx264",
    size: tuple[int, int] = (64, 64),
    between_keys: int = 250,
) -> Iterator[av.Packet]:
    """Encode frames that the codec is told to be even, then give each the time that it shall have."""
    order = {"preset": "ultrafast", "x264-params": f"bframes={b_frames}:b-adapt=0:scenecut=0:keyint={between_keys}"}
    stream = container.add_stream(codec, rate=coded_fps, options=order if codec == "libx264" else {})
    stream.width, stream.height = size
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    ticks = np.round(np.asarray(times) * CLOCK).astype(int).tolist()
    packets = []
    for i in range(len(ticks)):
        packets += stream.encode(coloured(i, size, stream.pix_fmt))
    packets += stream.encode()
    shown = [round(packet.pts * packet.time_base * coded_fps) for packet in packets]
    # a frame that others are made of is decoded before them, so decoding runs ahead of showing
    ahead = max((ticks[n] - ticks[i] for n, i in enumerate(shown)), default=0)
    for n, (packet, i) in enumerate(zip(packets, shown, strict=True)):
        packet.pts, packet.dts, packet.time_base = ticks[i], ticks[n] - ahead, Fraction(1, CLOCK)
        yield packet


def coloured(number: int, size: tuple[int, int], pix_fmt: str) -> av.VideoFrame:
    """Make a frame of one colour."""
    width, height = size
    colour = np.uint8([5 * number % 256, 11 * number % 256, 17 * number % 256])
    frame = av.VideoFrame.from_ndarray(np.tile(colour, (height, width, 1)), format="rgb24").reformat(format=pix_fmt)
    frame.pts = number
    return frame
