"""What figures share: Okabe-Ito colours, training always blue, inference always vermilion, words on one chunk."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from musetools.chunks.rows import ZERO_ROW
from musetools.chunks.sequence import Chunks
from musetools.table import signed
from musetools.timing import ROW_MS, ROW_RATE

__all__ = ["COLOURS", "INFER", "MARKS", "OWN", "STYLE", "TRAIN", "covered", "figure", "rows_of", "span_s"]

COLOURS = {  # Okabe & Ito, Color Universal Design
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
}
TRAIN, INFER, OWN = COLOURS["blue"], COLOURS["vermilion"], COLOURS["green"]
MARKS = {  # marker and line style, colour: up to four series that are neither training nor inference
    "o-": COLOURS["black"],
    "s--": COLOURS["green"],
    "^:": COLOURS["purple"],
    "d-.": COLOURS["orange"],
}
STYLE = {
    "figure.dpi": 110,
    "figure.figsize": (9, 4),
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=[TRAIN, INFER, *(COLOURS[c] for c in ("green", "orange", "purple", "sky"))]),
    "image.interpolation": "nearest",
    "legend.frameon": False,
}


@contextmanager
def figure(*args, **kwargs) -> Iterator[tuple[Figure, np.ndarray]]:
    """Make subplots in this style; the figure is closed for pyplot, so that a notebook shows it once."""
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(*args, squeeze=False, **kwargs)
        yield fig, axes
    plt.close(fig)


def rows_of(chunks: Chunks, frame: int) -> np.ndarray | None:
    """Return the rows that a frame takes; None if it has no chunk."""
    return chunks.rows[chunks.index_of(frame)] if frame in chunks.frames else None


def covered(rows: np.ndarray, lag_ms: float) -> str:
    """Write how much audio a chunk's rows cover, and its lag (NaN at an edge)."""
    length = ROW_MS * len(set(rows[rows != ZERO_ROW].tolist()))
    return f"covers {length} ms, " + ("at an edge" if np.isnan(lag_ms) else f"lag {signed(lag_ms)} ms")


def span_s(rows: np.ndarray | None) -> tuple[float, float] | None:
    """Return the stretch that a chunk's rows are centred on, in seconds; None if it has none but zeros."""
    taken = rows[rows != ZERO_ROW] if rows is not None else ()
    return ((taken.min() - 0.5) / ROW_RATE, (taken.max() + 0.5) / ROW_RATE) if len(taken) else None
