"""A contract's probe: chunks of audio that a formula gives, and what a foreign implementation makes differently."""

import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from musetools.chunks.sequence import Chunks, are_contiguous
from musetools.recipes.recipe import sinusoids
from musetools.recipes.trace import TraceError, collected
from musetools.timing import ROW_MS, ROW_RATE, ROW_SAMPLES, SAMPLE_RATE

__all__ = ["PROBE_ROWS", "Probe", "ProbeCheck", "check_probe", "probe_waveform"]

PROBE_S, BOUNDARY_S = 33, 30  # its length, and where the published encoder windows end
PROBE_SAMPLES = PROBE_S * SAMPLE_RATE
PROBE_ROWS = PROBE_SAMPLES // ROW_SAMPLES
LOOKED_AT_S = (0.0, 0.05, 8.6, 11.3, 21.4, 30.3, 31.1, 32.95, 33.0)  # edges, loud, silent, and past the boundary
LEVELS = (0, 55, 10, 2, 0)  # silence at both ends shows trimming, a peak of a half shows that it is normalised
N_COLUMNS = 4
PLACES = "frames", "columns", "rows"  # where its values lie
TOLERANCE = 0.03  # of a layer's deviation: half precision stays below, other padding or another norm lies above
ALIKE = 0.4  # correlation: 0.6 and more for the same weights behind another window, below 0.1 for other weights
FARTHEST = 9  # rows that a chunk may have been moved by


def probe_waveform() -> np.ndarray:
    """Return the probe's audio, float32 (528000,): 33 s at 16 kHz, by a formula in whole numbers.

    Sample n is ``((n·(3 + n // 8000 % 7) % 160)·2 - 159 + (n·n % 7919 · 31 + 17·n) % 255 - 127) · level / 32768``:
    a buzz and noise. The level is 0, 55, 10, 2 or 0, each for 12000 samples in turn; from 30 s on, 0, 3, 0 and 0.
    """
    n = np.arange(PROBE_SAMPLES, dtype=np.int64)  # whose squares the 32 bits of numpy 1 on Windows do not hold
    buzz = n * (3 + n // 8000 % 7) % 160 * 2 - 159
    noise = (n * n % 7919 * 31 + 17 * n) % 255 - 127
    level = np.array(LEVELS)[n // 12_000 % len(LEVELS)] // np.where(n < BOUNDARY_S * SAMPLE_RATE, 1, 16)
    return ((buzz + noise) * level / 32_768).astype(np.float32)


def _places(n_frames: int, fps: Fraction, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames and the columns whose values a probe keeps."""
    frames = np.unique([min(int(s * fps), n_frames - 1) for s in LOOKED_AT_S])
    return frames, np.unique([0, 1, *np.linspace(2, width - 1, N_COLUMNS - 2).astype(int)])


@dataclass(frozen=True, repr=False, eq=False)
class Probe:
    """What the right code makes of `probe_waveform`."""

    fps: Fraction
    tolerance: np.ndarray  # (n_layers,): how far a value may lie from its own
    frames: np.ndarray  # (n,): frames whose values are kept
    columns: np.ndarray  # (m,): which of a row's values
    rows: np.ndarray  # int64, (n_frames, rows_per_chunk): the index matrix, of every frame
    values: np.ndarray  # float32, (n, rows_per_chunk, n_layers, m): as the model sees them

    @classmethod
    def of(cls, chunks: Chunks, n_layers: int, model_input: Callable[[np.ndarray], np.ndarray]) -> "Probe":
        """Keep a few values of the probe's chunks."""
        frames, columns = _places(len(chunks), chunks.fps, chunks.chunk_shape[1])
        values = np.stack([model_input(chunks[frame]) for frame in frames])[..., columns]
        deviation = chunks.features.std(axis=0).mean(axis=-1)
        return cls(chunks.fps, TOLERANCE * deviation, frames, columns, chunks.rows, _layered(values, n_layers))

    def to_json(self) -> dict[str, Any]:
        """Return plain values, six digits of each number."""
        six_digits = np.vectorize(lambda value: float(f"{value:.6g}"))
        floats = {name: six_digits(getattr(self, name)).tolist() for name in ("tolerance", "values")}
        return {"fps": str(self.fps), **{name: getattr(self, name).tolist() for name in PLACES}, **floats}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], fps: Fraction, rows: np.ndarray, n_layers: int, width: int) -> "Probe":
        """Return what `to_json` gave; ValueError unless it is the probe of this rate, index matrix and encoder."""
        places = [*_places(len(rows), fps, width), rows]
        if Fraction(plain["fps"]) != fps or [plain[n] for n in PLACES] != [place.tolist() for place in places]:
            raise ValueError("its probe is not that of its fps, context, edge and width: it was changed by hand")
        tolerance, values = (np.array(plain[name], np.float32) for name in ("tolerance", "values"))
        if not (np.isfinite(tolerance).all() and np.isfinite(values).all()):
            raise ValueError("its probe holds values that are not finite")
        expected = len(places[0]), rows.shape[1], n_layers, len(places[1])
        if tolerance.shape != (n_layers,) or values.shape != expected:
            raise ValueError(f"its probe's values have another shape than its frames and rows: {values.shape}")
        return cls(fps, tolerance, *places, values)

    def __repr__(self) -> str:
        return f"{len(self.rows)} frames at {float(self.fps):.6g} fps, values of {len(self.frames)} of them"


@dataclass(frozen=True, repr=False)
class ProbeCheck:
    """What `AudioContract.check` found."""

    faults: tuple[tuple[str, str], ...]  # step and sentence; none where the function keeps the contract

    @property
    def ok(self) -> bool:
        """Whether the function keeps the contract."""
        return not self.faults

    def __repr__(self) -> str:
        return "\n".join(f"{step}: {text}" for step, text in self.faults) or "it keeps the contract"


def check_probe(
    probe: Probe, chunk_function: Callable[[str], Any], shape: tuple[int, int], *, positions: bool
) -> ProbeCheck:
    """Run an audio-to-chunks function on the probe; see `AudioContract.check`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "probe.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes((probe_waveform() * 32_768).astype("<i2").tobytes())
        try:
            chunks = collected(lambda: chunk_function(str(path)), "the probe", shape)[..., probe.columns]
        except TraceError as error:
            return ProbeCheck((("rows", str(error)),))
    if chunks.shape[1] != probe.rows.shape[1]:
        return ProbeCheck((("rows", f"a chunk has {chunks.shape[1]} rows, expected {probe.rows.shape[1]}"),))
    return ProbeCheck(tuple(_faults(chunks, probe, shape, positions)))


def _faults(chunks: np.ndarray, probe: Probe, shape: tuple[int, int], positions: bool) -> Iterator[tuple[str, str]]:
    """Look at one step after the other, the last first; what was found is taken back before the next."""
    kept = probe.frames[probe.frames < len(chunks)]
    expected = probe.values[: len(kept)]
    inside = are_contiguous(probe.rows[kept])
    added = _layered(sinusoids(chunks.shape[1] * shape[0], shape[1])[:, probe.columns], shape[0])
    if sign := _encoded(chunks[kept] - expected, added, positions):
        words = "is added, which the contract does not" if sign > 0 else "is missing"
        yield "encoding", f"MuseTalk's positional encoding {words}"
        chunks = chunks - sign * added
    if (other := _added((chunks[kept] - expected)[inside], probe.tolerance)) is not None:
        yield "encoding", "the same values are added to every chunk: a positional encoding of another form or scale"
        chunks = chunks - other
    if positions:  # a chunk moved by a row carries the same encoding
        chunks, expected = chunks - added, expected - added
    found, right = chunks[kept][inside], expected[inside]
    if moved := _moved(found, right, probe.tolerance):
        step, text = "rows", f"every chunk is taken {moved:+d} rows ({moved * ROW_MS:+d} ms) from its place"
    else:
        step, text = _other_rows(chunks, probe)
    if len(chunks) != len(probe.rows):
        asked = f"{len(chunks)} chunks of {PROBE_S} s, expected {len(probe.rows)} at {float(probe.fps):.6g} fps"
        if step == "rows":
            yield "rows", f"{asked}: so many as at {len(chunks) / PROBE_S:.5g} fps"
        else:
            yield "rows or decode", f"{asked}: frames are counted otherwise, or the audio is trimmed or padded"
    if step:
        yield step, text
    if step != "rows":
        faults = _value_faults(found, right, probe, kept[inside], shape[1])
        # where the end is cut off the last encoder window holds other sound
        yield from (fault for fault in faults if fault[0] != "mel" or len(chunks) >= len(probe.rows))


def _encoded(apart: np.ndarray, added: np.ndarray, positions: bool) -> int:
    """Return 1 if chunks carry a positional encoding that they should not, -1 if they lack it, 0 if all is right."""
    pattern = added - added.mean((0, 1))
    strength = float((apart * pattern).sum() / (np.square(pattern).sum() * max(1, len(apart))))
    sign = -1 if positions else 1
    return sign if 0.75 < sign * strength < 1.25 else 0


def _added(apart: np.ndarray, tolerance: np.ndarray) -> np.ndarray | None:
    """Return what is added to chunks of loud, quiet and silent sound alike; None if nothing is."""
    if len(apart) < 3:
        return None
    pattern, near = np.median(apart, axis=0), tolerance[:-1, None]
    alike = np.abs(apart - pattern)[..., :-1, :] <= near  # the last layer's norm may be another
    return pattern if alike.all() and (np.abs(pattern)[:, :-1] > near).any() else None


def _moved(chunks: np.ndarray, expected: np.ndarray, tolerance: np.ndarray) -> int:
    """Return by how many rows all chunks are moved, seen on all layers but the last, whose norm may be another."""
    for rows in sorted(range(-FARTHEST, FARTHEST + 1), key=abs):
        shared = chunks.shape[1] - abs(rows)
        if shared < min(2, chunks.shape[1] - 1) or not len(chunks):  # a single row is shared by reversed chunks, too
            continue
        ours, theirs = expected[:, max(0, rows) :][:, :shared], chunks[:, max(0, -rows) :][:, :shared]
        if (np.abs(ours - theirs) <= tolerance[:, None])[:, :, :-1].all():
            return rows
    return 0


def _other_rows(chunks: np.ndarray, probe: Probe) -> tuple[str, str]:
    """Say whether chunks are not the rows of the index matrix, whatever the values of these rows are."""
    shared = min(len(chunks), len(probe.rows))
    rows, chunks = probe.rows[:shared] + 1, chunks[:shared]
    inside = are_contiguous(rows - 1)
    values = np.zeros((rows.max(initial=0) + 1, *chunks.shape[2:]), np.float32)
    for those in (~inside, inside):  # rows that chunks of both kinds take are known by those inside
        values[rows[those]] = chunks[those]
    values[0] = 0  # -1 is a row of zeros
    wrong = (np.abs(chunks - values[rows]) > probe.tolerance[:, None]).any((2, 3)).sum(1)  # rows of each chunk
    for step, those in (("rows", inside), ("edges", ~inside)):
        if (wrong * those).any():
            worst = int((wrong * those).argmax())  # a chunk that is wrong leaves others that disagree with it
            expected = " ".join(map(str, rows[worst] - 1))
            what = "chunks take other rows, or are changed by place"
            return step, f"{what}, first and most that of frame {worst}; expected {expected}"
    return "", ""


def _window_start(apart: np.ndarray, rows: np.ndarray, probe: Probe, width: int) -> int:
    """Return the first row of the encoder window whose positions explain how embeddings differ; 0 if none does."""
    half = width // 2
    rates = np.exp(-np.log(10_000) / (half - 1) * (probe.columns % half))  # as `whisper.model.sinusoids`

    def positions(rows: np.ndarray) -> np.ndarray:
        angles = rows[..., None] * rates
        return np.where(probe.columns < half, np.sin(angles), np.cos(angles))

    starts = np.arange(rows[0] + 1)
    moved = positions(rows - starts[:, None]) - positions(rows)
    fits = (np.abs(apart - moved) <= probe.tolerance[0]).all((1, 2))
    return int(fits.argmax())


def _value_faults(
    chunks: np.ndarray, expected: np.ndarray, probe: Probe, frames: np.ndarray, width: int
) -> Iterator[tuple[str, str]]:
    """Say which step of making features differs, by the layers and places that do."""
    late = frames >= BOUNDARY_S * probe.fps
    layers = (np.abs(chunks - expected) > probe.tolerance[:, None]).any((1, 3))  # (n, n_layers)
    early, after = layers[~late].any(0), layers[late].any(0)
    deep, right = (values[~late][:, :, -2] - expected[~late][:, :, -2].mean((0, 1)) for values in (chunks, expected))
    alike = float((deep * right).sum() / np.sqrt(np.square(deep).sum() * np.square(right).sum() + 1e-12))
    apart, rows = (chunks - expected)[~late][:, :, 0], probe.rows[frames[~late]]
    if start := max((_window_start(*each, probe, width) for each in zip(apart, rows, strict=True)), default=0):
        window = f"one begins at {start / ROW_RATE:g} s, by its rows' positions"
        yield "encoder", f"another encoder window: {window}, or rows are taken from {start / ROW_RATE:g} s before"
    elif layers[~late][:, -1].all() and not early[:-1].any():
        yield "norm", "only the last layer differs: with or without the encoder's final layer norm"
    elif early.any() and alike < ALIKE:
        causes = "other weights or order of layers, another encoder window, other audio, or scaled or moved rows"
        yield "encoder", f"no value is alike (r = {alike:.2f}), the step is not known: {causes}"
    elif layers[~late][:1, 0].any():
        what = f"other samples, gain or mel filters, or rows are scaled, mixed or moved by more than {FARTHEST}"
        yield "decode", f"the input embedding differs in loud sound, too: {what}"
    elif early.any():
        what = "another encoder window or precision, or slightly other samples"
        yield "encoder", f"values differ from layer {early.argmax()} on: {what}"
    if not early[:-1].any() and after[:-1].any():
        floor = "log-mel's floor (peak of the file or of the window), or noise in silence"
        part = floor if after[0] else "padding of the last window"
        yield "mel", f"chunks differ from {BOUNDARY_S} s on alone: the {part}"


def _layered(values: np.ndarray, n_layers: int) -> np.ndarray:
    """Split the joined rows and layers of chunks."""
    return values.reshape(*values.shape[:-2], -1, n_layers, values.shape[-1])
