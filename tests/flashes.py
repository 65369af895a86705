"""Clips with clicks at known times in the sound and white frames at the same times in the picture, in any container."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from media import mux
from scipy.signal import fftconvolve

FPS, SECONDS = 25, 2.4
FLASHES = (10, 25, 38, 50)  # frames that are white; a click is centred at the start of each
CLICKS_S = np.array(FLASHES) / FPS
TONE_HZ, WIDTH_S = 1500.0, 0.002  # a click: a few waves of a tone under a Gaussian, which every codec here can hold
WHITE = 128
ONE_RATE = {"libopus": 48_000, "libopencore_amrnb": 8_000, "g722": 16_000, "g723_1": 8_000, "real_144": 8_000}
SIZES = {"h263": (128, 96), "dvvideo": (720, 576), "rv20": (128, 96)}
FORMATS = {"m4b": "ipod", "mts": "mpegts", "m2ts": "mpegts", "wmv": "asf", "wma": "asf", "vob": "vob", "aac": "adts"}
PICTURE_OPTIONS = {
    "libx264": {"preset": "ultrafast", "g": "12"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:frame-threads=1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    "libsvtav1": {"preset": "13", "svtav1-params": "lp=1"},
}
SOUND_OPTIONS = {"vorbis": {"strict": "experimental"}, "wmav1": {"b": "64k"}, "wmav2": {"b": "64k"}}


@dataclass(frozen=True)
class Pair:
    """A container with its codecs."""

    suffix: str
    sound: str
    picture: str = ""  # none: sound alone
    b_frames: int = 0
    rate: int = 44_100
    options: tuple[tuple[str, str], ...] = ()  # of the container

    def __str__(self) -> str:
        rate = "" if self.rate == 44_100 else str(self.rate)
        parts = [self.suffix, self.sound, rate, self.picture, f"b{self.b_frames}" if self.b_frames else ""]
        return "-".join([*filter(None, parts), *(f"{name}={value}" for name, value in self.options)])


def write_flashes(path: Path, pair: Pair) -> Path:
    """Write the clip of a pair."""
    kind = FORMATS.get(pair.suffix)
    with av.open(str(path), "w", format=kind, options=dict(pair.options)) as container:
        picture = list(_picture(container, pair)) if pair.picture else []
        sound = list(_sound(container, pair))
        mux(container, picture + sound)
    if pair.picture == "libsvtav1" and hasattr(os, "sched_setscheduler"):
        # for root it sets this process to real-time scheduling: what is started later would leave the rest no time
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return path


def _picture(container: av.container.OutputContainer, pair: Pair) -> Iterator[av.Packet]:
    options = dict(PICTURE_OPTIONS.get(pair.picture, {}))
    if pair.b_frames:
        options["bf"] = str(pair.b_frames)
    stream = container.add_stream(pair.picture, rate=FPS, options=options)
    stream.width, stream.height = SIZES.get(pair.picture, (64, 64))
    stream.pix_fmt = "yuvj420p" if pair.picture == "mjpeg" else "yuv420p"
    stream.codec_context.thread_count = 1
    for number in range(round(SECONDS * FPS)):
        grey = np.full((stream.height, stream.width, 3), 235 if number in FLASHES else 20, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=stream.pix_fmt)
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        yield from stream.encode(frame)
    yield from stream.encode()


def _sound(container: av.container.OutputContainer, pair: Pair) -> Iterator[av.Packet]:
    rate = ONE_RATE.get(pair.sound, pair.rate)
    layout = "stereo" if pair.sound == "vorbis" else "mono"  # FFmpeg's own encoder of Vorbis knows no other
    stream = container.add_stream(pair.sound, rate=rate, layout=layout, options=SOUND_OPTIONS.get(pair.sound))
    frame = av.AudioFrame.from_ndarray(clicks(rate)[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    resampled = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
    size = 1024 if pair.sound.startswith("pcm") else 0  # packets of pcm are as long as the frames that are given
    fifo = av.AudioFifo()
    for each in resampled.resample(frame):
        fifo.write(each)
    while piece := fifo.read(size, partial=True) if size else fifo.read(0):
        yield from stream.encode(piece)
    yield from stream.encode()


def clicks(rate: int) -> np.ndarray:
    """Return the sound, 16-bit samples."""
    at = np.arange(round(SECONDS * rate)) / rate
    wave = sum(np.exp(-0.5 * ((at - t) / WIDTH_S) ** 2) * np.cos(2 * np.pi * TONE_HZ * (at - t)) for t in CLICKS_S)
    return np.round(16_000 * wave).astype(np.int16)


# --- where clicks and flashes are

# FFmpeg adds the lowest composition offset of a fragmented mp4, here a frame or two, to all its pictures, if below 0.
SHOWN_LATE_S = {"libx264": 1 / FPS, "libx265": 2 / FPS}


def click_times(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return where the clicks are, in seconds: the highest places of the envelope that a click's own wave leaves."""
    at = np.arange(-round(4 * WIDTH_S * rate), round(4 * WIDTH_S * rate) + 1) / rate
    wave = np.exp(-0.5 * (at / WIDTH_S) ** 2 + 2j * np.pi * TONE_HZ * at)
    envelope = np.abs(fftconvolve(samples.astype(float), wave, mode="same")) + 1e-9
    found = []
    rest = envelope.copy()
    for _ in FLASHES:
        top = int(rest.argmax())
        rest[max(0, top - rate // 5) : top + rate // 5] = 0
        left, middle, right = np.log(envelope[top - 1 : top + 2])
        found.append((top + 0.5 * (left - right) / (left - 2 * middle + right)) / rate)
    return np.sort(found)


@dataclass(frozen=True)
class Stamps:
    """What a file's own time stamps say, read with PyAV alone; seconds on the container's clock.

    But for one kind, see `SHOWN_LATE_S`.
    """

    zero_s: float  # of the first frame that is shown; without video, of the first sample
    flashes_s: np.ndarray  # white frames
    clicks_s: np.ndarray  # by the stamp of the decoded frame that holds each
    counted_s: np.ndarray  # by the number of samples before each
    starts_s: float  # first sample
    breaks_s: float  # the largest distance between a frame's stamp and the end of the one before

    @property
    def offset_ms(self) -> np.ndarray:
        """How late each click is against its flash."""
        return 1000 * (self.clicks_s - self.flashes_s)

    @property
    def whole(self) -> bool:
        """Whether sound starts with the picture and has no hole, so that counting samples must do."""
        return abs(self.starts_s - self.zero_s) < 0.001 and self.breaks_s < 0.005


def stamps_of(path: Path, pair: Pair) -> Stamps:
    """Read the stamps of a clip of `write_flashes`."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    rate = frames[0].sample_rate
    firsts = np.cumsum([0, *(frame.samples for frame in frames)])
    starts = np.zeros(len(frames))
    for i, frame in enumerate(frames):  # the second frame of a packet has no stamp of its own
        end = starts[i - 1] + frames[i - 1].samples / rate
        starts[i] = end if frame.pts is None else frame.pts * frame.time_base
    counted = click_times(np.concatenate([_first_channel(frame) for frame in frames]), rate)
    holds = np.searchsorted(firsts, counted * rate, "right") - 1
    at = starts[holds] + counted - firsts[holds] / rate
    ends = starts + np.diff(firsts) / rate
    breaks = float(np.abs(starts[1:] - ends[:-1]).max(initial=0))
    with av.open(str(path)) as container:
        if not container.streams.video:
            return Stamps(starts[0], starts[0] + CLICKS_S, at, counted, starts[0], breaks)
        below_zero = pair.b_frames and "negative_cts_offsets" in dict(pair.options).get("movflags", "")
        late = SHOWN_LATE_S[pair.picture] if below_zero else 0
        shown = [
            (float(f.pts * f.time_base) - late, f.to_ndarray(format="gray").mean()) for f in container.decode(video=0)
        ]
    if pair.suffix == "avi":  # which says nowhere when a frame is shown: one follows the other
        with av.open(str(path)) as container:
            slots = [packet.dts * packet.time_base for packet in container.demux(video=0) if packet.size]
        shown = [(float(slot), grey) for slot, (_, grey) in zip(slots, shown, strict=True)]
    white = np.array([when for when, grey in shown if grey > WHITE])
    return Stamps(min(when for when, _ in shown), white, at, counted, starts[0], breaks)


def _first_channel(frame: av.AudioFrame) -> np.ndarray:
    samples = frame.to_ndarray()
    return samples[0] if frame.format.is_planar else samples.reshape(frame.samples, -1)[:, 0]


FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"),)
BELOW_ZERO = (("movflags", "delay_moov+frag_keyframe+negative_cts_offsets"),)
LIVE = (("live", "1"),)
PAIRS = (  # every container and every codec at least once, and what a decoder that counts samples puts elsewhere
    *(Pair("mp4", sound, "libx264") for sound in ("aac", "libmp3lame", "mp2", "eac3", "alac")),
    Pair("mp4", "aac", "libsvtav1"),
    Pair("mp4", "aac", "mpeg4", 2),
    Pair("mp4", "vorbis", "mpeg4"),
    Pair("mp4", "aac", "libx264", options=FRAGMENTED),
    Pair("mp4", "aac", "libx264", 2, options=FRAGMENTED),
    Pair("mp4", "aac", "libx264", 2, 22_050),
    Pair("mp4", "aac", "libx264", 0, 48_000, (("use_editlist", "0"),)),
    Pair("mp4", "aac", "libx264", 2, 48_000, (("movflags", "cmaf+delay_moov+frag_keyframe+negative_cts_offsets"),)),
    Pair("mp4", "aac", "libx265", 2, 44_100, BELOW_ZERO),
    Pair("mov", "aac", "libx264", 2),
    *(Pair("mov", sound, "libx264") for sound in ("pcm_s24be", "pcm_mulaw", "adpcm_ima_qt")),
    Pair("mov", "pcm_s16be", "mjpeg"),
    Pair("mov", "aac", "libx264", 2, 32_000, FRAGMENTED),
    *(Pair("mkv", sound, "libx264") for sound in ("aac", "libmp3lame", "tta", "wavpack")),
    Pair("mkv", "aac", "mpeg2video", 2),
    Pair("mkv", "flac", "ffv1"),
    Pair("mkv", "pcm_f32le", "libvpx"),
    Pair("mkv", "libopus", "libx265", 2),
    Pair("mkv", "aac", "libx264", 2, 22_050, LIVE),
    Pair("webm", "vorbis", "libvpx"),
    Pair("webm", "libopus", "libvpx-vp9"),
    Pair("webm", "libopus", "libsvtav1"),
    Pair("webm", "libopus", "libvpx", options=LIVE),
    *(Pair("avi", sound, "mpeg4") for sound in ("libmp3lame", "mp2", "ac3", "adpcm_ms", "aac", "wmav2")),
    Pair("avi", "libmp3lame", "mpeg4", 2),
    Pair("avi", "libmp3lame", "libx264"),
    *(Pair("ts", sound, "libx264") for sound in ("aac", "libmp3lame", "libopus")),
    Pair("ts", "aac", "libx264", 2),
    Pair("ts", "aac", "libx265", 2),
    Pair("ts", "aac", "libx264", 2, 48_000, (("mpegts_flags", "latm"),)),
    Pair("mts", "ac3", "libx264", 2),
    *(Pair("flv", sound, "flv") for sound in ("libmp3lame", "adpcm_swf", "nellymoser")),
    Pair("flv", "aac", "libx264", 2),
    Pair("f4v", "aac", "libx264", 2),
    Pair("3gp", "libopencore_amrnb", "h263"),
    Pair("3gp", "aac", "libx264", 2),
    Pair("3g2", "aac", "mpeg4"),
    Pair("mpg", "mp2", "mpeg1video"),
    Pair("vob", "ac3", "mpeg2video", 2, 48_000),
    Pair("wmv", "wmav2", "wmv2"),
    Pair("wmv", "wmav1", "wmv1"),
    Pair("wmv", "libmp3lame", "msmpeg4v2"),
    Pair("asf", "aac", "mpeg4", 2),
    Pair("ogv", "vorbis", "libvpx"),
    Pair("nut", "libmp3lame", "libx264"),
    Pair("mxf", "pcm_s24le", "mpeg2video", 2, 48_000),
    Pair("wtv", "mp2", "mpeg2video"),
    Pair("rm", "ac3", "rv20"),
    Pair("swf", "libmp3lame", "flv"),
    *(Pair(suffix, "aac") for suffix in ("m4a", "aac")),
    *(Pair(suffix, "vorbis") for suffix in ("ogg", "oga")),
    *(Pair(suffix, "flac") for suffix in ("flac", "ogg")),
    *(Pair(suffix, "libopus") for suffix in ("mka", "opus")),
    *(Pair(suffix, "pcm_s16be") for suffix in ("aiff", "au")),
    *(Pair(suffix, "pcm_s16le") for suffix in ("wav", "w64")),
    Pair("wav", "adpcm_ms"),
    Pair("caf", "alac"),
    Pair("mp3", "libmp3lame"),
    Pair("mp2", "mp2"),
    Pair("ac3", "ac3"),
    Pair("wma", "wmav2"),
    Pair("amr", "libopencore_amrnb"),
    Pair("tta", "tta"),
    Pair("wv", "wavpack"),
)
