"""Clips that flash and click at the same times, and finding both again: they show what moves video against audio."""

from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from musetools.errors import AudioError
from musetools.timing import exact_fps

__all__ = ["click_times", "flash_starts", "lateness_ms", "write_flash_clip"]

SIZE, RATE, X264 = 64, 44_100, {"crf": "18", "sc_threshold": "0", "g": "300"}
# Of 60 frames a second 35 are dropped: so a flash fades over 12 frames, and brightness says which of them is shown
DARK, BRIGHT, STEP, FADE = 16, 235, 16, 12
SPACING_S, EDGE_S, REACH_S = (0.7, 0.95), 0.6, 0.3  # irregular: a shift by a whole spacing would not look like none
CLICK_HZ, CLICK_S, CLICKS_ABOVE = 3000, 0.006, 0.2


def write_flash_clip(
    path: Path, fps: float | Fraction, seconds: float, *, b_frames: int = 0, key_frames: Collection[int] = ()
) -> Path:
    """Write a dark clip with flashes at irregular times and a click at the start of each, as H.264 and AAC.

    There are at most `b_frames` B-frames in a row; `key_frames` are numbers of key frames besides the first.
    """
    fps = exact_fps(fps)
    starts = EDGE_S + np.cumsum(np.random.default_rng(0).uniform(*SPACING_S, int(seconds / SPACING_S[0])))
    flashes = np.round(starts[starts < seconds - EDGE_S - FADE / fps] * float(fps)).astype(int)
    with av.open(str(path), "w") as clip:
        video = clip.add_stream("libx264", rate=fps, width=SIZE, height=SIZE, pix_fmt="yuv420p")
        video.options = X264 | {"bf": str(b_frames)}
        audio = clip.add_stream("aac", rate=RATE, layout="mono")
        packets = [p for frame in _frames(flashes, fps, seconds, key_frames) for p in video.encode(frame)]
        packets += audio.encode(_clicks(flashes / float(fps), seconds))
        packets += video.encode() + audio.encode()
        clip.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path


def _frames(flashes: np.ndarray, fps: Fraction, seconds: float, forced: Collection[int]) -> Iterator[av.VideoFrame]:
    """Yield the frames: the first of a flash is the brightest, every next one a step darker."""
    lumas = np.full(int(seconds * fps), DARK, np.uint8)
    for step in range(FADE):
        lumas[flashes + step] = BRIGHT - STEP * step
    for number, luma in enumerate(lumas):
        planes = np.full((SIZE * 3 // 2, SIZE), 128, np.uint8)
        planes[:SIZE] = luma
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = number, 1 / fps
        if number in forced:
            frame.pict_type = av.video.frame.PictureType.I
        yield frame


def _clicks(times: np.ndarray, seconds: float) -> av.AudioFrame:
    """Return audio with a short burst centred on each time."""
    wave, around = np.zeros(int(seconds * RATE)), np.arange(-int(CLICK_S / 2 * RATE), int(CLICK_S / 2 * RATE) + 1)
    for time in times:
        at = (round(time * RATE) + around) / RATE - time
        wave[round(time * RATE) + around] = np.cos(2 * np.pi * CLICK_HZ * at) * np.cos(np.pi * at / CLICK_S) ** 2
    pcm = np.round(0.8 * 32767 * wave).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    return frame


def flash_starts(path: Path, fps: float | Fraction, *, counted: bool = False) -> tuple[np.ndarray, int]:
    """Return for each frame of a flash when that flash began, in s, and the number of all frames.

    `fps` is the rate that the flashes were written at. Frames have the times of their time stamps, or, where they are
    `counted`, *i*/`fps`, as training takes them. AudioError if there is no video.
    """
    with av.open(str(path)) as clip:
        if not clip.streams.video:
            raise AudioError(f"{path} has no video. Name a clip of flashes and clicks")
        shown = [(float(f.pts * f.time_base), f.to_ndarray()[: f.height].mean()) for f in clip.decode(video=0)]
    times, lumas = np.array(shown).reshape(-1, 2).T
    if counted:
        times = np.arange(len(times)) / float(exact_fps(fps))
    steps = np.round((BRIGHT - lumas) / STEP)
    lit = steps < FADE
    return times[lit] - steps[lit] / float(exact_fps(fps)), len(times)


def click_times(path: Path) -> tuple[np.ndarray, float]:
    """Return the centre of each click by the file's time stamps, and the length of the audio, both in s.

    AudioError if there is no audio.
    """
    with av.open(str(path)) as clip:
        frames = list(clip.decode(audio=0)) if clip.streams.audio else []
    if not frames:
        raise AudioError(f"{path} has no audio. Name a clip of flashes and clicks")
    start, rate = float(frames[0].pts * frames[0].time_base), frames[0].rate
    power = np.square(np.concatenate([frame.to_ndarray()[0] for frame in frames]), dtype=np.float64)
    loud = np.flatnonzero(power > CLICKS_ABOVE * power.max())
    clicks = np.split(loud, np.flatnonzero(np.diff(loud) > REACH_S * rate) + 1) if len(loud) else []
    reach = int(CLICK_S * rate)  # a codec smears a click to both sides alike
    around = [np.arange(max(0, click[0] - reach), min(len(power), click[-1] + reach)) for click in clicks]
    centres = [start + np.average(samples, weights=power[samples]) / rate for samples in around]
    return np.array(centres), len(power) / rate


def lateness_ms(starts: np.ndarray, clicks: np.ndarray) -> tuple[np.ndarray, int]:
    """Return how much later than its click each of `starts` is, in ms, and the number of clicks that these belong to.

    A start without a click within 0.3 s, as at a cut, is left out; AudioError if that leaves none.
    """
    apart = starts[:, None] - clicks
    near = np.abs(apart) < REACH_S  # less than half the least spacing: one click at most
    if not near.any():
        raise AudioError("no flash has a click within 0.3 s. Name a clip of flashes and clicks")
    return 1000 * apart[near], int(near.any(axis=0).sum())
