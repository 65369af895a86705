"""By how much sound is late against the mouth: correlation of the mouth seen with the one expected, over shifts.

Positive offsets mean that sound is late. Both series lie on one grid of 10 ms; the clip is cut into blocks of a second
or more, whose products are summed, so that the curve, its drift and its jackknife (Efron and Stein 1981) are read off
one array. For r at the best of many shifts, ``S = atanh(r) · sqrt(seconds)`` of wrong sounds follows a Gumbel
distribution whose place grows with the logarithm of the range that is searched: confidence is its value at S. In a clip
of more than a minute drifts are searched, too, as so many ranges.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from musetools.errors import ParameterError
from musetools.features.encoder import Encoder
from musetools.lips.expected import GRID_RATE, MouthModel, expected_mouth, on_grid, row_grid
from musetools.lips.series import MEASURES, MouthSeries
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["LipSync", "compared", "expected_and_sync", "lip_sync", "match"]

REACH_S, FARTHEST_S = 0.6, 3.0  # offsets searched by default, and at most
SHORTEST_S = 2.8  # of face and sound; GRID's clips have 3.0 s with their last frame
SURE = 0.998  # confidence from which a number is given; 0.995 is promised
SILENT = 0.1  # deviation of an expected mouth, of a talker's, below which there is no speech
FASTEST, LARGEST_STEP = 30, 1.0  # ms/s, of drifts that are tried
DRIFT_REACH_S, DRIFT_STEP_S = (0.3, 1.0), 0.03  # what they are at the ends of the clip
USUAL_DRIFT = 1.2  # ms/s that is tried however long the clip is: 29.97 fps taken for 30 is 1.0
DRIFT_FROM_S = 6.0  # of face and sound; in less, words look like drift
BLOCK_S, MOST_BLOCKS = 1.0, 60
FINE = 10  # shifts a point of the grid, by cubic splines: drift moves blocks by parts of a point
NEAR_S = 0.15  # peaks without one block are looked for so near to the peak
LEAST_SOUND = 0.01  # of the largest sum of expected²: where a shift leaves next to no sound, nothing is divided by it
LEAST_MS = 5.0  # half of the shortest interval: the grid's step is 10 ms
QUIET_DB, LOUD_DB = -34.0, -7.0  # loudness rule: shut and wide open, below the loudest moment
SMOOTH_S = 0.025  # sigma of the window that loudness is measured under


@dataclass(frozen=True)
class LipSync:
    """By how much a clip's sound is late against the mouth."""

    offset_ms: float | None = None  # positive: sound late, in the middle of the clip; None where it is not known
    interval_ms: tuple[float, float] | None = None  # holds the offset 19 times in 20, by the clip's blocks
    drift_ms_s: float | None = None  # growth of the offset; None in clips of less than 6 s, too
    drift_interval_ms_s: tuple[float, float] | None = None
    correlation: float = 0.0  # of the mouth seen with the one expected, at the best shift
    confidence: float = 0.0  # share of wrong sounds that match less well
    seconds: float = 0.0  # of face and sound that were compared
    reach_s: float = REACH_S  # offsets searched on either side
    why: str = ""  # why it is not known
    method: str = "rows"  # "loudness": the fallback without trained weights
    curve: np.ndarray | None = None  # correlation at shifts of 10 ms, -reach … reach

    def __repr__(self) -> str:
        match = f"correlation {self.correlation:.2f}, confidence {self.confidence_text}, {self.seconds:.1f} s"
        match += ", by loudness alone" * (self.method == "loudness")
        if self.offset_ms is None:
            return f"cannot tell: {self.why} ({match})"
        low, high = self.interval_ms
        return f"{in_words(self.offset_ms)} ({low:+.0f} … {high:+.0f} ms){self._drift_text()} ({match})"

    @property
    def confidence_text(self) -> str:
        """Confidence in percent."""
        return "over 99.9 %" if self.confidence > 0.999 else f"{100 * self.confidence:.1f} %"

    def _drift_text(self) -> str:
        return "" if self.drift_ms_s is None else f", drift {self.drift_ms_s:+.1f} ms/s"

    def cell(self) -> str:
        """Return what a table shows."""
        if self.offset_ms is None:
            return "cannot tell"
        half = (self.interval_ms[1] - self.interval_ms[0]) / 2
        return f"{in_words(self.offset_ms)} ±{half:.0f}{self._drift_text()}, {self.confidence_text}"

    def to_json(self) -> dict:
        """Return plain values, rounded."""
        names = ("offset_ms", "interval_ms", "drift_ms_s", "correlation", "confidence", "seconds")
        plain = {name: None if (v := getattr(self, name)) is None else np.round(v, 4).tolist() for name in names}
        return plain | {"method": self.method, "why": self.why}


def in_words(offset_ms: float) -> str:
    """Say an offset's side: sound 80 ms late."""
    return f"sound {abs(offset_ms):.0f} ms {'late' if offset_ms > 0 else 'early'}"


def lip_sync(
    mouth: MouthSeries,
    waveform: np.ndarray,
    encoder: Encoder | None,
    *,
    reach_s: float = REACH_S,
    model: MouthModel | None = None,
) -> LipSync:
    """Estimate by how much sound is late against a mouth.

    Parameters
    ----------
    mouth : MouthSeries
        See `mouth_measures`.
    waveform : ndarray of float32, shape (n_samples,)
        Mono, 16 kHz, on the clip's timeline: what `load_audio` returns.
    encoder : Encoder or None
        tiny.en, whose rows the model takes. None: loudness stands for the expected mouth, which says less of people; so
        it does for a drawn mouth.
    reach_s : float, default 0.6
        Offsets that are searched on either side, at most 3 s.
    model : MouthModel, optional
        By default the one that musetools ships.

    Returns
    -------
    LipSync
        Without an offset where wrong sound would match as well.

    Raises
    ------
    ParameterError
        If the encoder is another one than the model's, or the reach is not above 0 and at most 3 s.
    AudioError
        If the waveform cannot be used.
    """
    if not 0 < reach_s <= FARTHEST_S:
        raise ParameterError(f"reach_s must be above 0 and at most {FARTHEST_S:g} s; got {reach_s!r}")
    return expected_and_sync(mouth, waveform, encoder, model or MouthModel.load(), reach_s)[1]


def expected_and_sync(
    mouth: MouthSeries, waveform: np.ndarray, encoder: Encoder | None, model: MouthModel, reach_s: float = REACH_S
) -> tuple[np.ndarray, LipSync]:
    """Return the mouth that was expected, (n_rows, n_measures), too; arguments as of `lip_sync`."""
    if encoder is None or mouth.drawn:
        expected = loudness_mouth(waveform)
        found = match(mouth, expected, model.about["loudness_gumbel"], reach_s)
        return expected, replace(found, method="loudness")
    expected = expected_mouth((waveform, SAMPLE_RATE), encoder, model)
    return expected, match(mouth, expected, model.about["gumbel"], reach_s)


def loudness_mouth(waveform: np.ndarray) -> np.ndarray:
    """Return the opening that loudness suggests at each row, (n_rows, 1), in deviations: the rule of drawn talkers."""
    power = gaussian_filter1d(np.square(waveform, dtype=np.float64), SMOOTH_S * SAMPLE_RATE, truncate=3)
    level = 10 * np.log10(power[:: SAMPLE_RATE // ROW_RATE] + 1e-12)
    opening = np.clip((level - level.max(initial=-120) - QUIET_DB) / (LOUD_DB - QUIET_DB), 0, 1)
    return opening[:, None] / max(opening.std(), 1e-3)


def match(mouth: MouthSeries, expected: np.ndarray, gumbel: dict, reach_s: float = REACH_S) -> LipSync:
    """Compare a mouth with the one expected at each row, (n_rows, 4) or inner lips alone; see `lip_sync`.

    `gumbel` has the place `mu` and the scale `beta` of wrong sounds' scores.
    """
    even, known, wanted = compared(mouth, expected)
    if not known.any() or not len(wanted):
        return LipSync(reach_s=reach_s, why="no sound" if known.any() else "no face")
    nothing = LipSync(seconds=float(known[: len(wanted)].sum()) / GRID_RATE, reach_s=reach_s)
    if nothing.seconds < SHORTEST_S:
        return replace(nothing, why=f"{nothing.seconds:.1f} s of face and sound, 3 s are needed")
    if wanted.std() < SILENT:
        return replace(nothing, why="no speech in the sound")
    return _Blocks(even, known, wanted, reach_s).judged(nothing, gumbel)


def compared(mouth: MouthSeries, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a mouth, (n_points, n_measures), where it is known, and the one expected, on the grid, without trends."""
    used = np.isfinite(mouth.values).any(axis=0) & (np.arange(len(MEASURES)) < expected.shape[1])
    wanted = row_grid(expected[:, used[: expected.shape[1]]]) if len(expected) and used.any() else expected
    return *on_grid(mouth.times_s, mouth.values[:, used]), wanted


class _Blocks:
    """Sums of products of two series over blocks of the clip, for every shift."""

    def __init__(self, even: np.ndarray, known: np.ndarray, wanted: np.ndarray, reach_s: float):
        n_blocks = int(np.clip(len(even) / (BLOCK_S * GRID_RATE), 3, MOST_BLOCKS))
        self.starts = np.linspace(0, len(even), n_blocks, endpoint=False).astype(int)
        self.middles_s = (self.starts + len(even) / n_blocks / 2 - len(even) / 2) / GRID_RATE
        drift_s, self.drifts = _drifts(max(self.middles_s[-1], 1e-3))
        self.is_long = self.drifts[1] - self.drifts[0] < LARGEST_STEP
        self.reach = round(reach_s * GRID_RATE)
        self.far = self.reach + round(drift_s * GRID_RATE)
        padded = np.zeros((len(even) + 2 * self.far, even.shape[1]))
        kept = wanted[: len(even) + self.far]
        padded[self.far : self.far + len(kept)] = kept
        ends = [*self.starts[1:], len(even)]
        blocks = [
            self._sums(even[i:j], known[i:j], padded[i : j + 2 * self.far])
            for i, j in zip(self.starts, ends, strict=True)
        ]
        shifts = np.arange(2 * self.far + 1)
        fine = np.arange(2 * self.far * FINE + 1) / FINE
        self.sums = CubicSpline(shifts, np.stack(blocks, axis=1), axis=2)(fine)

    def _sums(self, even: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Return a block's mouth · expected, mouth², expected² at each shift, (3, 2 · far + 1); what is not known is 0.

        Of mouth² all counts: where a shift leaves little sound to compare, chance must not look like a match.
        """
        both = np.einsum("iml,lm->i", sliding_window_view(wanted, len(even), axis=0), even)
        expected = sliding_window_view(np.square(wanted).sum(axis=1), len(even)) @ known.astype(float)
        return np.stack([both, np.full(len(both), np.square(even).sum()), expected])

    def drifting(self, drift_ms_s: float, shifts: np.ndarray) -> np.ndarray:
        """Return each block's sums at shifts in fine steps that grow by a drift, (3, n_blocks, n_shifts)."""
        moved = np.rint(drift_ms_s / 1000 * GRID_RATE * FINE * self.middles_s).astype(int)
        places = np.clip(shifts + self.far * FINE + moved[:, None], 0, self.sums.shape[2] - 1)
        return self.sums[:, np.arange(len(moved))[:, None], places]

    def judged(self, nothing: LipSync, gumbel: dict) -> LipSync:
        """Return what the sums tell."""
        shifts = np.arange(-self.reach * FINE, self.reach * FINE + 1)
        # the ends of a long clip are moved so far apart by a drift that nothing would match without it
        drifts = self.drifts if self.is_long else [0.0]
        curve = max((_correlation(self.drifting(drift, shifts).sum(axis=1)) for drift in drifts), key=np.max)
        r, best = float(curve.max()), int(curve.argmax())
        confidence = _confidence(r, nothing, gumbel, len(drifts))
        found = replace(nothing, correlation=r, curve=curve[::FINE], confidence=confidence)
        if found.confidence < SURE:
            return replace(found, why="the mouth seen and the one expected match no better than wrong sound would")
        if not FINE <= best < len(curve) - FINE:
            return replace(found, why=f"the best match lies at the end of ±{1000 * nothing.reach_s:.0f} ms")
        near = round(NEAR_S * GRID_RATE * FINE)
        shifts = shifts[max(0, best - near) : best + near + 1]
        drift, drift_error = self._drift(shifts) if nothing.seconds >= DRIFT_FROM_S else (None, 0.0)
        if drift is None and self.is_long:
            return replace(found, why=f"its offset changes by {self.drifts[-1]:.2g} ms/s or more. Cut it into parts")
        steady = drift is None or abs(drift) <= 3 * drift_error
        offset, error = self._offset(shifts, 0.0 if steady else drift)
        around = None if drift is None else (drift - 2 * drift_error, drift + 2 * drift_error)
        interval = offset - error, offset + error
        return replace(found, offset_ms=offset, interval_ms=interval, drift_ms_s=drift, drift_interval_ms_s=around)

    def _offset(self, shifts: np.ndarray, drift: float) -> tuple[float, float]:
        """Return the curve's peak near the best shift, and half the length of its interval, in ms."""
        sums = self.drifting(drift, shifts)
        total = sums.sum(axis=1)
        left_out = np.array([_peak(one) for one in _correlation(total[:, None] - sums)])
        step_ms = 1000 / GRID_RATE / FINE
        return step_ms * (shifts[0] + _peak(_correlation(total))), max(LEAST_MS, 2 * step_ms * _jackknife(left_out))

    def _drift(self, shifts: np.ndarray) -> tuple[float | None, float]:
        """Return the growth of the offset and its standard error, in ms/s; None at the end of those that are tried."""
        every = np.stack([self.drifting(drift, shifts) for drift in self.drifts])
        total = every.sum(axis=2)
        best = _correlation(total.swapaxes(0, 1)).max(axis=1)
        if not 0 < int(best.argmax()) < len(best) - 1:
            return None, 0.0
        left_out = [_correlation((total - one).swapaxes(0, 1)).max(axis=1) for one in np.moveaxis(every, 2, 0)]
        peaks = np.array([_peak(one) for one in left_out])
        step = self.drifts[1] - self.drifts[0]
        return float(self.drifts[0] + step * _peak(best)), float(step * _jackknife(peaks))


def _drifts(end_s: float) -> tuple[float, np.ndarray]:
    """Return how far the drifts that are tried move an end of the clip, in s, and these drifts, in ms/s."""
    reach_s = float(np.clip(USUAL_DRIFT / 1000 * end_s, *DRIFT_REACH_S))
    step = min(LARGEST_STEP, 1000 * DRIFT_STEP_S / end_s)
    n_steps = int(min(FASTEST, 1000 * reach_s / end_s) / step + 1e-6)
    return reach_s, step * np.arange(-n_steps, n_steps + 1)


def _correlation(sums: np.ndarray) -> np.ndarray:
    """Return correlation from sums whose first axis is mouth · expected, mouth², expected²."""
    expected = np.maximum(sums[2], LEAST_SOUND * sums[2].max(axis=-1, keepdims=True))
    return sums[0] / np.sqrt(np.maximum(sums[1] * expected, 1e-12))


def _peak(curve: np.ndarray) -> float:
    """Return the place of a curve's maximum, between its points by a parabola."""
    best = int(curve.argmax())
    if not 0 < best < len(curve) - 1:
        return float(best)
    before, here, after = curve[best - 1 : best + 2]
    bend = before - 2 * here + after
    return best + (float(0.5 * (before - after) / bend) if bend < 0 else 0.0)


def _jackknife(left_out: np.ndarray) -> float:
    """Return the standard error of a value, from its values without one block each."""
    return float(np.sqrt((len(left_out) - 1) * left_out.var()))


def _confidence(r: float, of: LipSync, gumbel: dict, n_drifts: int) -> float:
    score = np.arctanh(min(max(r, 0.0), 0.999)) * np.sqrt(of.seconds)
    place = gumbel["mu"] + gumbel["beta"] * np.log(of.reach_s / REACH_S * n_drifts)
    return float(np.exp(-np.exp(-(score - place) / gumbel["beta"])))
