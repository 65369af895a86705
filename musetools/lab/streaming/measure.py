"""Live streams measured: what a window costs, how far its features are from offline ones, when each chunk comes.

Distances are in standard deviations of a layer; times in seconds where a name ends in ``_s``. All computing is timed on
one thread.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf

import numpy as np

from musetools.chunks.sequence import feature2chunks
from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import EncoderWindow, FeatureSpec
from musetools.infer.stream import ChunkStream
from musetools.lab.process import one_thread, resident_mib
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["REFERENCE", "WindowCost", "arrivals", "distance", "memory_over", "row_distance", "segment_levels"]
__all__ += ["segment_sentence", "stream_errors", "window_cost"]

REFERENCE = EncoderWindow(14, 2, 14, 30, positions="clip")  # every row has as much audio before as after it
BLOCK = round(0.02 * SAMPLE_RATE)  # samples that a microphone sends at once


@dataclass(frozen=True)
class WindowCost:
    """What one window costs, and how far its features are from the offline ones."""

    window: EncoderWindow
    latency_s: float  # how long after a frame starts its chunk is certain, at most, at 25 fps
    of_real_time: float  # seconds of computing for a second of audio
    step_ms: float  # computing a step
    by_layer: np.ndarray  # (n_layers,), see `distance`

    @property
    def overall(self) -> float:
        """Distance of all layers together."""
        return float(np.sqrt(np.square(self.by_layer).mean()))


def distance(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Measure, layer by layer, how far features are from others of the same audio.

    Parameters
    ----------
    features, reference : ndarray, shape (n_rows, n_layers, width)

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


def window_cost(waveform: np.ndarray, encoder: Encoder, offline: np.ndarray, window: str | EncoderWindow) -> WindowCost:
    """Stream a waveform through a window, and compare its features with offline ones.

    Parameters
    ----------
    waveform : ndarray of float32, shape (n_samples,)
        16 kHz mono.
    encoder : Encoder
        The weights.
    offline : ndarray, shape (n_rows, n_layers, width)
        What its features are compared with.
    window : str or EncoderWindow
        As for `ChunkStream`.

    Returns
    -------
    WindowCost
    """
    stream = ChunkStream(encoder, ROW_RATE, (0, 0), window=window)  # a frame a row, which comes first in its chunk
    with one_thread():
        features = np.stack([live.chunk[: encoder.n_layers] for live in stream.iterate(_blocks(waveform))])
    latency, cost = ChunkStream(encoder, 25, window=window).latency_s, stream.compute
    return WindowCost(stream.spec.window, latency, cost.of_real_time, 1000 * cost.mean_s, distance(features, offline))


def segment_levels(gaps: dict[str, np.ndarray], windows: dict[str, EncoderWindow]) -> dict[str, float]:
    """Return by name the `row_distance`, all layers together, of the farthest row within 0.5 s of a segment boundary.

    Parameters
    ----------
    gaps : dict of str to ndarray, shape (n_rows, n_layers)
        Distances from the features of `REFERENCE`.
    windows : dict of str to EncoderWindow
        What each was made with; its segments are its hops.
    """
    levels = {}
    for name, rows in gaps.items():
        bounds = np.arange(windows[name].hop, len(rows), windows[name].hop)
        bounds = bounds[(bounds >= REFERENCE.left) & (bounds <= len(rows) - REFERENCE.right)]
        near = (bounds[:, None] + np.arange(-ROW_RATE // 2, ROW_RATE // 2)).ravel()
        levels[name] = float(np.sqrt(np.square(rows[near]).mean(axis=1).max()))
    return levels


def segment_sentence(levels: dict[str, float]) -> str:
    """Write how far the farthest row beside a segment boundary is."""
    return f"Farthest row beside a segment boundary: {', '.join(f'{name} {at:.2f}' for name, at in levels.items())}"


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

    Parameters
    ----------
    stream : ChunkStream
        At 16 kHz.
    waveform : ndarray of float32, shape (n_samples,)
        What is repeated.
    hours : float
        Audio that passes, at least.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Hours passed, MiB resident.
    """
    hours_each, readings = len(waveform) / SAMPLE_RATE / 3600, []
    with one_thread():
        for n in range(ceil(hours / hours_each)):
            stream.push(waveform)
            readings.append(((n + 1) * hours_each, resident_mib()))
    return np.array(readings)


def arrivals(stream: ChunkStream, waveform: np.ndarray) -> np.recarray:
    """Play a waveform into a stream in real time, in blocks of 20 ms, and record when each chunk comes.

    Parameters
    ----------
    stream : ChunkStream
        At 16 kHz.
    waveform : ndarray of float32, shape (n_samples,)
        What is played.

    Returns
    -------
    recarray, shape (n_frames,)
        Of all frames but those of the last flush: `frame`, its number; `start_s`, when it starts in the audio;
        `late_s`, how long after that its chunk came; `loudness` of its samples in dBFS.
    """
    came, started = [], time.perf_counter()
    for i, block in enumerate(_blocks(waveform), start=1):
        time.sleep(max(0.0, started + i * BLOCK / SAMPLE_RATE - time.perf_counter()))
        for live in stream.push(block):
            came.append((live.frame, live.time_s, time.perf_counter() - started - live.time_s, live.loudness))
    return np.rec.fromrecords(came, names="frame, start_s, late_s, loudness")
