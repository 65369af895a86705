"""What the work costs on this machine, each beside the least that it could cost: products, copies, reads.

Timed on one thread in time of the processor, in turns (`musetools.lab.performance.timing`), but for the encoder on more
threads, which takes wall time.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile
import torch

from musetools import ChunkStream, Encoder, EncoderWindow, FeatureSpec, audio2feat, feature2chunks, load_audio
from musetools.lab.content import gap_of
from musetools.lab.performance.timing import PRODUCT_FLOPS, Race, matrix_peak, race
from musetools.lab.process import one_thread, torch_threads
from musetools.table import Table
from musetools.timing import ROW_RATE, SAMPLE_RATE
from musetools.train import ChunkDataset, FeatureStore

__all__ = ["Bound", "Fit", "chunk_costs", "decode_cost", "encoder_flops", "encoder_shares", "fit_of", "length_costs"]
__all__ += ["live_costs", "operation_table", "repeated_wav", "sampler_cost", "type_errors"]

LIVE = EncoderWindow(0.2, 0.64, 0.2, None, positions="clip")
BARE = FeatureSpec(window=EncoderWindow(0, 30, 0, None))  # as "musetools", but short audio is not padded
BATCH, COPIED = 64, 8  # items of a training batch, chunks that inference copies out at once
KINDS = {  # parts of the names of torch's operations
    "attention": ("attention", "softmax"),
    "products, convolutions": ("mm", "convolution", "conv2d"),
    "layer norms": ("layer_norm",),
    "GELU": ("gelu",),
}
REST = "sums, copies, other types"

_all = partial(deque, maxlen=0)  # goes through what is to be timed, and keeps nothing


@dataclass(frozen=True)
class Bound:
    """A cost beside its limit."""

    name: str
    limit: str  # what the least possible is
    share: float  # of the limit that is reached: 1 is as good as possible
    low: float  # the same in the worst round
    high: float  # and in the best
    text: str  # the cost itself, with its unit


@dataclass(frozen=True)
class Fit:
    """A straight line through cost against length."""

    a_second: float  # seconds of computing a second of audio
    once: float  # seconds besides
    worst: float  # largest deviation of a point that is fitted, as a share of the line there


def encoder_flops(encoder: Encoder, n_rows: int) -> float:
    """Count the products and sums of a pass over `n_rows` rows: of tiny, 36.9 GFLOP for 30 s."""
    n, width = n_rows, encoder.width
    convolutions = 12 * n * width * encoder.n_mels + 6 * n * width**2
    return convolutions + (encoder.n_layers - 1) * (24 * n * width**2 + 4 * n**2 * width)


def encoder_shares(encoders: dict[str, Encoder], threads: Sequence[int], rounds: int) -> list[Bound]:
    """Time 30 s of audio in each type and number of threads, next to products of matrices of that type.

    float32 is to be among the types.
    """
    found = []
    for n in threads:
        runs = {name: partial(one.hidden_states, torch.zeros(one.n_mels, 3000)) for name, one in encoders.items()}
        runs |= {f"peak {name}": matrix_peak(getattr(torch, name)) for name in encoders}
        with torch_threads(n):
            raced = race(runs, rounds, clock=time.process_time if n == 1 else time.perf_counter)
        for name, encoder in encoders.items():
            # without units for it a lower precision is slower: then products in float32 are the limit
            product = np.minimum(raced.seconds[f"peak {name}"], raced.seconds["peak float32"])
            least = product * encoder_flops(encoder, 1500) / PRODUCT_FLOPS
            peak = PRODUCT_FLOPS / product.min() / 1e9
            text = f"{1000 * raced.best(name):.0f} ms; products {peak:.0f} GFLOP/s"
            label = f"{name}, {n} thread{'s' * (n > 1)}"
            found.append(_bound(label, "product of matrices", least, raced.seconds[name], text))
    return found


def operation_table(encoders: Sequence[Encoder]) -> Table:
    """Tell by torch's profiler where the time of each encoder goes, on 30 s: the account of what is no product."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else some builds write a line to stderr at each start
    lines = []
    for encoder in encoders:
        mel, shares = torch.zeros(encoder.n_mels, 2 * encoder.max_rows), Counter()
        encoder.hidden_states(mel)
        with one_thread(), torch.profiler.profile() as profiled:
            encoder.hidden_states(mel)
        for event in profiled.key_averages():
            name = event.key.removeprefix("aten::")
            kind = next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), REST)
            shares[kind] += event.self_cpu_time_total
        lines.append([encoder.dtype, *(f"{100 * shares[kind] / shares.total():.0f} %" for kind in (*KINDS, REST))])
    return Table(["type", *KINDS, REST], lines)


def repeated_wav(waveform: np.ndarray, seconds: float, path: Path) -> Path:
    """Write a 16 kHz wav of a length, the waveform over and over."""
    soundfile.write(path, np.resize(waveform, round(seconds * SAMPLE_RATE)), SAMPLE_RATE, subtype="PCM_16")
    return path


def length_costs(waveform: np.ndarray, encoder: Encoder, lengths_s: Sequence[float], rounds: int) -> dict[str, Race]:
    """Time `audio2feat` at each length, in windows padded to 30 s and, below 30 s, in windows that are not."""
    sounds = {f"{s:g}": (np.resize(waveform, round(s * SAMPLE_RATE)), SAMPLE_RATE) for s in lengths_s}
    runs = {name: lambda sound=sound: audio2feat(sound, encoder) for name, sound in sounds.items()}
    short = {name: sound for name, sound in sounds.items() if float(name) < 30}
    bare = {name: lambda sound=sound: audio2feat(sound, encoder, spec=BARE) for name, sound in short.items()}
    return {"padded to 30 s": race(runs, rounds), "not padded": race(bare, rounds)}


def fit_of(costs: Race, from_s: float = 10) -> Fit:
    """Fit a line to the fastest rounds of `length_costs` from a length on, each point weighing by its own size."""
    points = sorted((float(name), costs.best(name)) for name in costs.seconds if float(name) >= from_s)
    lengths, seconds = np.array(points).T
    rounded = np.ceil(lengths / 30) * 30  # what is computed: whole windows
    slope, once = np.polyfit(rounded, seconds, 1, w=1 / seconds)
    return Fit(float(slope), float(once), float(np.abs(seconds / (slope * rounded + once) - 1).max()))


def type_errors(waveform: np.ndarray, encoders: dict[str, Encoder]) -> dict[str, np.ndarray]:
    """Return, layer by layer, how far each type's features lie from float32's, in standard deviations of the layer.

    Beside them "not padded": float32 in windows that are not padded, on the first 5 s; and "neighbouring rows", what
    rows 20 ms apart differ by, the natural spread.
    """
    sound = waveform[: 30 * SAMPLE_RATE], SAMPLE_RATE
    short = waveform[: 5 * SAMPLE_RATE], SAMPLE_RATE
    exact = audio2feat(sound, encoders["float32"])
    std = exact.std(axis=(0, 2), dtype=np.float64)

    found = {name: audio2feat(sound, e) - exact for name, e in encoders.items() if name != "float32"}
    padded, bare = (audio2feat(short, encoders["float32"], spec=spec) for spec in ("musetools", BARE))
    found |= {"5 s, not padded": bare - padded, "neighbouring rows": np.diff(exact, axis=0)}
    return {name: gap_of(difference, std).rms for name, difference in found.items()}


def decode_cost(path: Path, rounds: int) -> Bound:
    """Time `load_audio` next to PyAV doing the same without a check."""
    raced = race({"ours": partial(load_audio, path), "bare": partial(_bare_decode, path)}, rounds)
    seconds = len(load_audio(path)) / SAMPLE_RATE
    text = f"{1000 * raced.best('ours') * 60 / seconds:.0f} ms a minute of {path.suffix[1:]}"
    return _bound("decoding", "PyAV without checks", raced.seconds["bare"], raced.seconds["ours"], text)


def chunk_costs(hours: float, row_shape: tuple[int, int], rounds: int) -> list[Bound]:
    """Time making and touching all chunks of some hours at 25 fps, and copying them out, eight at a time."""
    features = np.ones((round(hours * 3600 * ROW_RATE), *row_shape), np.float32)
    chunks, room = feature2chunks(features, 25), np.empty_like(features[: 10 * COPIED])
    shape, edges = chunks[0].shape, range(0, len(chunks) - COPIED, COPIED)
    runs = {
        "touched": lambda: _all(chunk[0, 0] for chunk in feature2chunks(features, 25)),
        "views": lambda: _all(features[2 * i : 2 * i + 10].reshape(shape)[0, 0] for i in range(len(chunks) - 5)),
        "batches": lambda: _all(chunks.batch(i, i + COPIED) for i in edges),
        "copies": lambda: _all(np.copyto(room, features[i : i + len(room)]) for i in edges),
    }
    raced = race(runs, rounds)
    took, an_hour = raced.seconds, f"{1000 * raced.best('touched') / hours:.0f} ms an hour"
    rate = f"{len(edges) * COPIED * chunks[0].nbytes / raced.best('batches') / 1e9:.1f} GB/s"
    return [
        _bound("chunks made and touched", "numpy's own views", took["views"], took["touched"], an_hour),
        _bound(f"chunks copied out, {COPIED} at a time", "copies of memory", took["copies"], took["batches"], rate),
    ]


def sampler_cost(store: FeatureStore, n_batches: int, rounds: int) -> Bound:
    """Time training batches of 64 in random order, page cache warm, next to bare reads of as many bytes."""
    dataset, dice = ChunkDataset(store), np.random.default_rng(0)
    batches = dice.integers(0, len(dataset), (n_batches, BATCH)).tolist()
    buffer = np.empty((BATCH, 10, *store.row_shape), store.dtype)
    with store.file(store.clips[0]) as file:
        offset, n = file.tell(), store.record(store.clips[0]).rows - 10
        # all over the file, as the dataset's chunks lie: a part of it would stay in the processor's cache
        places = [[offset + index * n // len(dataset) * buffer[0, 0].nbytes for index in batch] for batch in batches]

        def bare() -> None:
            for batch in places:
                for item, place in zip(np.empty_like(buffer), batch, strict=True):  # a loader keeps its batches
                    os.preadv(file.fileno(), [item], place)

        raced = race({"ours": lambda: _all(map(dataset.__getitems__, batches)), "bare": bare}, rounds)
    text = f"{n_batches * BATCH / raced.best('ours') / 1000:.0f} thousand chunks a second"
    return _bound("training batches", "os.preadv into new memory", raced.seconds["bare"], raced.seconds["ours"], text)


def live_costs(waveform: np.ndarray, encoders: dict[str, Encoder], rounds: int) -> list[Bound]:
    """Time live steps of 640 ms with 200 ms either side, next to the products with the blocks' matrices alone.

    Of so few rows a product takes as long as reading its matrix: large products would be no limit.
    """
    block, found, least = round(LIVE.hop_s * SAMPLE_RATE), [], np.inf
    pcm = np.resize(waveform, 12 * block)
    for name, encoder in encoders.items():
        stream = ChunkStream(encoder, 25, window=LIVE)

        def live(stream: ChunkStream = stream) -> None:
            stream.reset()
            for start in range(0, len(pcm), block):
                stream.push(pcm[start : start + block])

        raced = race({"ours": live, "bare": _products(encoder, LIVE.left + LIVE.hop + LIVE.right)}, rounds)
        least = np.minimum(least, raced.seconds["bare"])  # of the types so far, as for the encoder
        steps = stream.compute.steps
        text = f"{1000 * raced.best('ours') / steps:.1f} ms a step"
        found.append(_bound(f"live step, {name}", "its products alone", least * steps, raced.seconds["ours"], text))
    return found


def _products(encoder: Encoder, n_rows: int) -> Callable[[], None]:
    """Return what multiplies rows with matrices of the shapes of all blocks."""
    width, dtype = encoder.width, getattr(torch, encoder.dtype)
    shapes = (encoder.n_layers - 1) * [*4 * [(width, width)], (width, 4 * width), (4 * width, width)]
    matrices = [torch.randn(shape).to(dtype) for shape in shapes]
    rows = {n: torch.randn(n_rows, n).to(dtype) for n in (width, 4 * width)}
    return lambda: _all(rows[len(matrix)] @ matrix for matrix in matrices)


def _bound(name: str, limit: str, least: np.ndarray, ours: np.ndarray, text: str) -> Bound:
    """Compare the seconds of a limit with ours: of the fastest rounds, and of the worst and the best round."""
    share, rounds = float(least.min() / ours.min()), least / ours
    return Bound(name, limit, share, min(share, float(rounds.min())), max(share, float(rounds.max())), text)


def _bare_decode(path: Path) -> np.ndarray:
    resampler, fifo, out = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE), av.AudioFifo(), []
    with av.open(path) as container:
        for frame in container.decode(audio=0):
            frame.pts = None
            fifo.write(frame)
            if fifo.samples >= 4 * frame.sample_rate:
                out += resampler.resample(fifo.read())
    out += [*resampler.resample(fifo.read()), *resampler.resample(None)]
    return np.concatenate([frame.to_ndarray()[0].astype(np.float32) / 32768 for frame in out])
