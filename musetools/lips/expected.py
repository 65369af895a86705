"""The mouth that is expected from sound: a small linear model on rows of Whisper's encoder, shipped as figures.

With rows x of 20 ms (layers 2 and 3 of tiny.en beside each other) the mouth's measures at row k are
``sum over taps t of W_t x[k + t] + bias``, each over its own deviation. ``W`` is learned by ridge on standardised
principal components (``data/learn_lips.py``) and folded back, so that a single product is left.
"""

import io
import json
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from musetools.audio.decode import Source
from musetools.errors import ParameterError
from musetools.features.encoder import Encoder
from musetools.features.extract import FeatureRows
from musetools.features.spec import FeatureSpec
from musetools.timing import ROW_RATE

__all__ = ["GRID_RATE", "MouthModel", "expected_mouth", "mouth_rows", "on_grid"]

SHIPPED = "model.npz"
LAYERS = (2, 3)
TAPS = (-4, -2, 0, 2, 4)  # rows: -80 … 80 ms
GRID_RATE = 100  # points a second at which mouths are compared
TREND_S = 1.0  # slower movement is the head's and the face's
GAP_S = 0.15  # no mouth is made up in longer gaps


@dataclass(frozen=True)
class MouthModel:
    """Weights from feature rows to the mouth's measures, and what their use needs to know."""

    weights: np.ndarray  # (layers · width, taps · measures)
    bias: np.ndarray  # (taps · measures,)
    about: dict  # fingerprint of the encoder, calibration, offsets of the clips learned from, how it was made

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> "MouthModel":
        """Read a model; by default the one that musetools ships. ParameterError if the file is none."""
        place = files("musetools.lips") / SHIPPED if path is None else Path(path)
        try:
            with place.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                return cls(kept["weights"], kept["bias"], json.loads(str(kept["about"])))
        except Exception as error:  # numpy raises many kinds for a damaged file
            raise ParameterError(f"{place} is no model of mouths ({error}). Make one: data/learn_lips.py") from None

    def to_bytes(self) -> bytes:
        """Return the content of a model file."""
        content = io.BytesIO()
        np.savez_compressed(content, weights=self.weights, bias=self.bias, about=json.dumps(self.about))
        return content.getvalue()

    def fits(self, encoder: Encoder) -> bool:
        """Tell whether an encoder is the one whose rows the model was learned on."""
        return encoder.fingerprint == self.about["fingerprint"]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return each row's share in its neighbours' mouths, (n_rows, taps · measures)."""
        return rows @ self.weights + self.bias


def mouth_rows(source: Source, encoder: Encoder):
    """Yield the rows that models of mouths take, block by block, (n, layers · width)."""
    for rows in FeatureRows(source, encoder.truncated(LAYERS[-1] + 1), FeatureSpec.named("musetools")):
        yield rows[:, list(LAYERS)].reshape(len(rows), -1)


def expected_mouth(source: Source, encoder: Encoder, model: MouthModel) -> np.ndarray:
    """Return the mouth expected from sound at each row, (n_rows, 4).

    ParameterError for another encoder than the model's; AudioError as `load_audio`.
    """
    if not model.fits(encoder):
        raise ParameterError(
            f"the model of mouths was learned on rows of the encoder {model.about['fingerprint'][:12]} (tiny.en), "
            f"got {encoder}. Pass that one: pip install 'musetools[trained]'"
        )
    return summed(np.concatenate([model(rows) for rows in mouth_rows(source, encoder)]))


def summed(shares: np.ndarray) -> np.ndarray:
    """Add up what each row's neighbours contribute to it: (n_rows, taps · measures) -> (n_rows, measures)."""
    places = np.arange(len(shares))
    parts = shares.reshape(len(shares), len(TAPS), -1)
    return sum(parts[np.clip(places + tap, 0, len(places) - 1), i] for i, tap in enumerate(TAPS))


def on_grid(times_s: np.ndarray, values: np.ndarray, rate: int = GRID_RATE) -> tuple[np.ndarray, np.ndarray]:
    """Put a series on an even grid from time 0, without its slow trend, each measure over its own deviation.

    Values, (n, n_measures), are NaN where nothing is known. Returns the even series, 0 there, and where it is known.
    """
    seen = np.isfinite(values).all(axis=1)
    grid = np.arange(int(times_s[-1] * rate) + 1) / rate
    if seen.sum() < 2 or not values.shape[1]:
        return np.zeros((len(grid), values.shape[1])), np.zeros(len(grid), bool)
    times = times_s[seen]
    after = np.clip(np.searchsorted(times, grid, "right"), 1, len(times) - 1)
    known = (grid >= times[0]) & (grid <= times[-1]) & (times[after] - times[after - 1] < GAP_S)
    even = np.stack([np.interp(grid, times, column) for column in values[seen].T], axis=1)
    even = (even - _trend(even, known, int(TREND_S * rate) + 1)) * known[:, None]
    spread = np.sqrt(np.square(even).sum(axis=0) / max(known.sum(), 1))
    return even / np.maximum(spread, 1e-9), known


def row_grid(rows: np.ndarray) -> np.ndarray:
    """Put an expected mouth on the grid, without its slow trend; its size stays: where it is small, it knows little."""
    times, grid = np.arange(len(rows)) / ROW_RATE, np.arange((len(rows) - 1) * GRID_RATE // ROW_RATE + 1) / GRID_RATE
    even = np.stack([np.interp(grid, times, column) for column in rows.T], axis=1)
    return even - _trend(even, np.ones(len(even), bool), int(TREND_S * GRID_RATE) + 1)


def _trend(even: np.ndarray, known: np.ndarray, width: int) -> np.ndarray:
    """Return the mean of what is known around each point."""
    half = width // 2

    def around(column: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(column)])
        places = np.arange(len(column))
        return total[np.minimum(places + half + 1, len(column))] - total[np.maximum(places - half, 0)]

    counts = np.maximum(around(known.astype(float)), 1)
    return np.stack([around(np.where(known, column, 0)) / counts for column in even.T], axis=1)
