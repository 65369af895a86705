"""Live streams measured: what a window costs, how far its features are from offline ones, when each chunk comes.

Distances are root mean squares in standard deviations of a layer's content (see `musetools.lab.content`); times in
seconds where a name ends in ``_s``. Computing is timed on one thread, in time of the processor: other programs do not
count.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

import numpy as np

from musetools import ChunkStream, Encoder, EncoderWindow, FeatureSpec, ParameterError, audio2feat, feature2chunks
from musetools.features.extract import encode_window
from musetools.features.windows import MelWindow, MelWindows
from musetools.lab.content import Content
from musetools.lab.process import one_thread, resident_mib
from musetools.timing import ROW_RATE, ROW_SAMPLES, SAMPLE_RATE

__all__ = ["REFERENCE", "WindowCost", "arrivals", "memory_over", "row_distance"]
__all__ += ["segment_levels", "stream_errors", "window_cost"]

REFERENCE = EncoderWindow(14, 2, 14, 30, positions="clip")  # every row has as much audio before as after it
BLOCK = round(0.02 * SAMPLE_RATE)  # samples that a microphone sends at once
LATENCY_FPS = 25
ROWS_A_PASS = 20  # fewer rows make more passes: a few rows tell little


@dataclass(frozen=True)
class WindowCost:
    """What one window costs, and how far its features are from the offline ones."""

    window: EncoderWindow
    positions: str  # "clip", "window", or "fixed": the window lies in the middle of the encoder's 30 s
    latency_s: float  # how long after a frame starts its chunk is certain, at most, at 25 fps
    of_real_time: float  # seconds of computing for a second of audio
    step_ms: float  # computing a step
    by_layer: np.ndarray  # (n_layers,): distance from offline, in standard deviations of content
    neighbours: np.ndarray  # (n_layers,): that of neighbouring rows

    @property
    def overall(self) -> float:
        """Distance of all layers together."""
        return float(np.sqrt(np.square(self.by_layer).mean()))

    @property
    def of_a_row(self) -> float:
        """The same over the distance of neighbouring rows."""
        return self.overall / float(np.sqrt(np.square(self.neighbours).mean()))


def row_distance(features: np.ndarray, reference: np.ndarray, content: Content) -> np.ndarray:
    """Measure how far each row of (n_rows, n_layers, width) is from that of a reference; the shorter one counts.

    It is the root mean square of the difference, (n_rows, n_layers), in standard deviations of that layer's content.
    """
    n_rows = min(len(features), len(reference))
    gap = features[:n_rows].astype(np.float64) - reference[:n_rows]
    return np.sqrt(np.square(gap).mean(axis=2)) / content.std


def window_cost(
    waveform: np.ndarray,
    encoder: Encoder,
    offline: np.ndarray,
    content: Content,
    window: str | EncoderWindow,
    *,
    fixed: bool = False,
    passes: int = 24,
) -> WindowCost:
    """Encode a waveform window by window as a stream does, and compare its features with offline ones.

    Parameters
    ----------
    waveform : ndarray of float32, shape (n_samples,)
        16 kHz mono. ParameterError if it is too short for one pass.
    encoder : Encoder
        The weights.
    offline : ndarray, shape (n_rows, n_layers, width)
        What its features are compared with.
    content : Content
        What distances are stated in.
    window : str or EncoderWindow
        As for `ChunkStream`.
    fixed : bool, default False
        Whether the window lies in the middle of the encoder's positions, whatever its own say.
    passes : int, default 24
        Encoder passes that are measured, spread evenly over the waveform, at most; of short hops as many more as give
        20 rows for each.
    """
    stream = ChunkStream(encoder, LATENCY_FPS, window=window)
    spec = replace(stream.spec, window=replace(stream.spec.window, positions="clip")) if fixed else stream.spec
    loop, gaps, times = MelWindows(spec, encoder.n_mels), [], []
    n_passes = len(waveform) // ROW_SAMPLES // spec.window.hop
    passes = max(passes, ceil(passes * ROWS_A_PASS / spec.window.hop))
    taken = set(np.linspace(0, n_passes - 1, min(passes, n_passes)).round().astype(int))
    with one_thread():
        for number, (mel, mel_s) in enumerate(_timed_windows(loop, waveform)):
            if number in taken:
                start, row = time.thread_time(), number * spec.window.hop
                states = encode_window(encoder, spec, _centred(mel, spec.window, encoder) if fixed else mel)
                times.append(mel_s + time.thread_time() - start)
                gaps.append(row_distance(states, offline[row : row + len(states)], content))
    if not gaps:
        raise ParameterError(
            f"{len(waveform) / SAMPLE_RATE:.2f} s are too short for a window of {spec.window}. Take a longer clip"
        )
    step_s = float(np.median(times))
    by_layer = np.sqrt(np.square(np.concatenate(gaps)).mean(axis=0))
    positions = "fixed" if fixed else spec.window.positions
    cost = stream.latency_s, step_s / spec.window.hop_s, 1000 * step_s
    return WindowCost(stream.spec.window, positions, *cost, by_layer, content.neighbours)


def _timed_windows(loop: MelWindows, waveform: np.ndarray) -> Iterator[tuple[MelWindow, float]]:
    """Yield each window and the time of the processor that its log-mel took."""
    for block in [*_blocks(waveform), None]:
        start = time.thread_time()
        windows = loop.flush() if block is None else loop.push(block)
        took = (time.thread_time() - start) / max(1, len(windows))
        yield from ((window, took) for window in windows)


def _centred(mel: MelWindow, window: EncoderWindow, encoder: Encoder) -> MelWindow:
    """Place a window in the middle of all positions: its kept rows have the same ones in every pass."""
    first = (encoder.max_rows - window.left - window.hop - window.right) // 2
    return replace(mel, first_row=first + window.left - mel.skip)


def segment_levels(gaps: dict[str, np.ndarray], windows: dict[str, EncoderWindow]) -> dict[str, float]:
    """Return by name the `row_distance`, all layers together, of the farthest row within 0.5 s of a segment boundary.

    `gaps` are distances, (n_rows, n_layers), from the features of `REFERENCE`; `windows` what each was made with: its
    segments are its hops.
    """
    levels = {}
    for name, rows in gaps.items():
        bounds = np.arange(windows[name].hop, len(rows), windows[name].hop)
        bounds = bounds[(bounds >= REFERENCE.left) & (bounds <= len(rows) - REFERENCE.right)]
        near = (bounds[:, None] + np.arange(-ROW_RATE // 2, ROW_RATE // 2)).ravel()
        levels[name] = float(np.sqrt(np.square(rows[near]).mean(axis=1).max()))
    return levels


def _blocks(waveform: np.ndarray) -> Iterator[np.ndarray]:
    return (waveform[i : i + BLOCK] for i in range(0, len(waveform), BLOCK))


def stream_errors(
    waveform: np.ndarray, encoder: Encoder, spec: str | FeatureSpec, rates: Sequence[float]
) -> dict[float, tuple[int, float]]:
    """Compare streams with ``feature2chunks(audio2feat(...))``: frames and largest difference by frame rate.

    The difference is infinite where the two have other frames.
    """
    errors = {}
    with one_thread():  # another number of threads adds in another order
        features = audio2feat((waveform, SAMPLE_RATE), encoder, spec=spec)
        for fps in rates:
            live = list(ChunkStream(encoder, fps, window=FeatureSpec.named(spec)).iterate(_blocks(waveform)))
            offline = feature2chunks(features, fps)
            same = [one.frame for one in live] == list(offline.frames)
            error = np.abs(np.stack([one.chunk for one in live]) - offline.batch()).max() if same else inf
            errors[fps] = len(live), float(error)
    return errors


def memory_over(stream: ChunkStream, waveform: np.ndarray, hours: float) -> np.ndarray:
    """Push a waveform over and over, and read the memory of this process after each time.

    Returns (n, 2), hours passed and MiB resident, until at least so many hours have passed.
    """
    hours_each, readings = len(waveform) / SAMPLE_RATE / 3600, []
    with one_thread():
        for n in range(ceil(hours / hours_each)):
            stream.push(waveform)
            readings.append(((n + 1) * hours_each, resident_mib()))
    return np.array(readings)


def arrivals(stream: ChunkStream, waveform: np.ndarray) -> np.recarray:
    """Play a waveform into a stream in real time, in blocks of 20 ms, and record when each chunk comes.

    Returns
    -------
    recarray, shape (n_frames,)
        Of all frames but those of the last flush: `frame`, its number; `start_s`, when it starts in the audio;
        `late_s`, how long after that its chunk came; `loudness` of its samples in dBFS.

    Raises
    ------
    ParameterError
        If no chunk comes while it plays.
    """
    came, started = [], time.perf_counter()
    for i, block in enumerate(_blocks(waveform), start=1):
        time.sleep(max(0.0, started + i * BLOCK / SAMPLE_RATE - time.perf_counter()))
        for live in stream.push(block):
            came.append((live.frame, live.time_s, time.perf_counter() - started - live.time_s, live.loudness))
    if not came:
        raise ParameterError(
            f"no chunk came within {len(waveform) / SAMPLE_RATE:g} s of audio: the stream is {stream.latency_s:.2f} s "
            "behind. Play more, or take a window that sees less far ahead"
        )
    return np.rec.fromrecords(came, names="frame, start_s, late_s, loudness")
