"""Live streams measured: what a window costs, how far its features are from offline ones, when each chunk comes."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from musetools.chunks.sequence import feature2chunks
from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import EncoderWindow, FeatureSpec
from musetools.infer.stream import ChunkStream
from musetools.lab.process import one_thread, resident_mib
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["REFERENCE", "Arrival", "WindowCost", "arrivals", "distance", "memory_over"]
__all__ += ["row_distance", "segment_levels", "segment_sentence", "stream_errors", "window_cost", "window_grid"]

PIECE_S = 0.02  # what a microphone sends at once
REFERENCE = EncoderWindow(14, 2, 14, 30, positions="clip")  # every row has as much audio before as after it


@dataclass(frozen=True)
class WindowCost:
    """What one window costs, and how far its features are from the offline ones.

    Attributes
    ----------
    window : EncoderWindow
        How encoder passes slide.
    latency_s : float
        How long after a frame starts its chunk is certain, at most.
    of_real_time : float
        Seconds of computing a second of audio, on one thread.
    step_ms : float
        Computing a step, on one thread.
    by_layer : ndarray of float64, shape (n_layers,)
        Distance from the offline features, see `distance`.
    """

    window: EncoderWindow
    latency_s: float
    of_real_time: float
    step_ms: float
    by_layer: np.ndarray

    @property
    def overall(self) -> float:
        """Distance of all layers together."""
        return float(np.sqrt(np.square(self.by_layer).mean()))


def distance(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Measure, layer by layer, how far features are from others.

    Parameters
    ----------
    features, reference : ndarray, shape (n_rows, n_layers, width)
        Features of the same audio.

    Returns
    -------
    ndarray of float64, shape (n_layers,)
        Root mean square of the difference over the standard deviation of that layer of the reference.
    """
    return np.sqrt(np.square(row_distance(features, reference)).mean(axis=0))


def row_distance(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Measure `distance` for each row by itself, shape (n_rows, n_layers)."""
    n_rows = min(len(features), len(reference))
    gap = features[:n_rows].astype(np.float64) - reference[:n_rows]
    return np.sqrt(np.square(gap).mean(axis=2)) / reference.astype(np.float64).std(axis=(0, 2))


def window_cost(waveform: np.ndarray, encoder: Encoder, window: str | EncoderWindow, offline: np.ndarray) -> WindowCost:
    """Stream a waveform through a window, on one thread; measure its cost and its distance from the offline features.

    Parameters
    ----------
    waveform : ndarray of float32, shape (n_samples,)
        16 kHz mono.
    encoder : Encoder
        The weights.
    window : str or EncoderWindow
        As for `ChunkStream`.
    offline : ndarray, shape (n_rows, n_layers, width)
        What its features are compared with.

    Returns
    -------
    WindowCost
    """
    stream = ChunkStream(encoder, ROW_RATE, (0, 0), window=window)  # a frame a row, which comes first in its chunk
    with one_thread():
        features = np.stack([live.chunk[: encoder.n_layers] for live in stream.iterate(pieces(waveform))])
    latency = ChunkStream(encoder, 25, window=window).latency_s
    cost = stream.compute
    return WindowCost(stream.spec.window, latency, cost.of_real_time, 1000 * cost.mean_s, distance(features, offline))


def window_grid(
    waveform: np.ndarray,
    encoder: Encoder,
    offline: np.ndarray,
    lefts_s: Sequence[float],
    rights_s: Sequence[float],
    hop_s: float,
) -> list[list[WindowCost]]:
    """Measure `window_cost` over left contexts, and for each over look-aheads, positions as in the clip."""
    return [
        [
            window_cost(waveform, encoder, EncoderWindow(left, hop_s, right, None, positions="clip"), offline)
            for right in rights_s
        ]
        for left in lefts_s
    ]


def segment_levels(by_name: dict[str, np.ndarray], windows: dict[str, EncoderWindow]) -> dict[str, float]:
    """Return by name the `row_distance`, all layers together, of the farthest row near a segment boundary.

    Near is within half a second.

    Parameters
    ----------
    by_name : dict of str to ndarray, shape (n_rows, n_layers)
        Distances from the features of `REFERENCE`.
    windows : dict of str to EncoderWindow
        What each was made with; its segments are its hops.
    """
    levels = {}
    for name, rows in by_name.items():
        bounds = np.arange(windows[name].hop, len(rows), windows[name].hop)
        bounds = bounds[(bounds >= REFERENCE.left) & (bounds <= len(rows) - REFERENCE.right)]
        near = (bounds[:, None] + np.arange(-ROW_RATE // 2, ROW_RATE // 2)).ravel()
        levels[name] = float(np.sqrt(np.square(rows[near]).mean(axis=1).max()))
    return levels


def segment_sentence(levels: dict[str, float]) -> str:
    """Write how far off the farthest row beside a segment boundary is."""
    return "Farthest row beside a segment boundary: " + ", ".join(
        f"{name} {level:.2f}" for name, level in levels.items()
    )


def pieces(waveform: np.ndarray, piece_s: float = PIECE_S) -> Iterator[np.ndarray]:
    """Yield a waveform in the blocks that a microphone would send."""
    step = round(piece_s * SAMPLE_RATE)
    return (waveform[i : i + step] for i in range(0, len(waveform), step))


def stream_errors(
    waveform: np.ndarray, encoder: Encoder, spec: str | FeatureSpec, rates: Sequence[float]
) -> dict[float, tuple[int, float]]:
    """Compare streams with ``feature2chunks(audio2feat(...))``: frames and largest difference by frame rate.

    The difference is infinite where the two have other frames.
    """
    with one_thread():  # another number of threads adds in another order
        features, errors = audio2feat((waveform, SAMPLE_RATE), encoder, spec=spec), {}
    for fps in rates:
        stream, offline = ChunkStream(encoder, fps, window=FeatureSpec.named(spec)), feature2chunks(features, fps)
        with one_thread():
            live = list(stream.iterate(pieces(waveform)))
        gaps = [float(np.abs(one.chunk - chunk).max()) for one, chunk in zip(live, offline, strict=False)]
        same = [one.frame for one in live] == list(offline.frames)
        errors[fps] = len(live), max(gaps, default=0.0) if same else float("inf")
    return errors


def memory_over(stream: ChunkStream, waveform: np.ndarray, hours: float, readings: int = 60) -> np.ndarray:
    """Push a waveform over and over, and read the memory of this process as audio passes.

    Parameters
    ----------
    stream : ChunkStream
        At 16 kHz.
    waveform : ndarray of float32, shape (n_samples,)
        What is repeated.
    hours : float
        Audio that passes.
    readings : int, default 60
        How often the memory is read.

    Returns
    -------
    ndarray of float64, shape (readings + 1, 2)
        Hours passed, MiB resident.
    """
    read, passed, seen = 0, 0, []
    while read <= readings:
        if passed / SAMPLE_RATE / 3600 >= hours * read / readings:
            seen.append((passed / SAMPLE_RATE / 3600, resident_mib()))
            read += 1
            continue
        with one_thread():
            stream.push(waveform)
        passed += len(waveform)
    return np.array(seen)


@dataclass(frozen=True)
class Arrival:
    """When a frame's chunk came.

    Attributes
    ----------
    frame : int
        Number of the video frame.
    start_s : float
        When the frame starts in the audio.
    came_s : float
        When its chunk came, in seconds since the first sample was played.
    loudness : float
        Of the frame's samples, in dBFS.
    """

    frame: int
    start_s: float
    came_s: float
    loudness: float

    @property
    def late_s(self) -> float:
        """Seconds from the frame's start to its chunk."""
        return self.came_s - self.start_s


def arrivals(stream: ChunkStream, waveform: np.ndarray, *, pace: float = 1.0) -> list[Arrival]:
    """Play a waveform into a stream in real time and record when each chunk comes.

    Parameters
    ----------
    stream : ChunkStream
        At 16 kHz.
    waveform : ndarray of float32, shape (n_samples,)
        What is played, in blocks of 20 ms.
    pace : float, default 1.0
        Seconds of audio played a second.

    Returns
    -------
    list of Arrival
        One for each frame, those of the last flush left out.
    """
    came, started, played = [], time.perf_counter(), 0
    for piece in pieces(waveform):
        played += len(piece)
        time.sleep(max(0.0, started + played / SAMPLE_RATE / pace - time.perf_counter()))
        for live in stream.push(piece):
            now = (time.perf_counter() - started) * pace
            came.append(Arrival(live.frame, live.time_s, now, live.loudness))
    return came
