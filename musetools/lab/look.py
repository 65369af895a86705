"""Figures in one look: Okabe-Ito colours, training always blue, inference always vermilion, units on every axis."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from musetools.chunks.rows import ZERO_ROW
from musetools.chunks.sequence import Chunks
from musetools.features.mel import whole_log_mel
from musetools.table import signed
from musetools.timing import MEL_HOP, ROW_MS, ROW_RATE, SAMPLE_RATE

__all__ = ["COLOURS", "INFER", "MARKS", "STYLE", "TRAIN", "chunk_images", "covered", "edge_tables", "feature_map"]
__all__ += ["figure", "frame_window", "rows_of", "span_s"]

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
TRAIN, INFER = COLOURS["blue"], COLOURS["vermilion"]
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
    """Make subplots in the house's look; the figure is closed for pyplot, so that a notebook shows it once."""
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(*args, squeeze=False, **kwargs)
        yield fig, axes
    plt.close(fig)


def frame_window(waveform: np.ndarray, chunks: dict[str, Chunks], frame: int, *, margin_s: float = 0.4) -> Figure:
    """Draw what the chunk of one video frame covers: the waveform and log-mel around it, and the chunk's rows.

    Parameters
    ----------
    waveform : ndarray of float32, shape (n_samples,)
        Mono, 16 kHz.
    chunks : dict of str to Chunks
        One or two recipes' chunks of that waveform, by their names, training first.
    frame : int
        Number of the video frame.
    margin_s : float, default 0.4
        Seconds shown either side of the frame.

    Returns
    -------
    Figure
    """
    start = float(frame / next(iter(chunks.values())).fps)
    with figure(2, 1, sharex=True, figsize=(9, 5)) as (fig, axes):
        sound, mel = axes[:, 0]
        _draw_waveform(sound, waveform, start - margin_s, start + margin_s)
        _draw_log_mel(mel, waveform)
        for i, ((name, cut), colour) in enumerate(zip(chunks.items(), (TRAIN, INFER), strict=False)):
            _draw_window(axes[:, 0], cut, frame, name, colour, (i / len(chunks), (i + 1) / len(chunks)))
        for ax in (sound, mel):
            ax.axvline(
                start, color=COLOURS["black"], linestyle="--", label=f"frame {frame} starts" if ax is sound else None
            )
        sound.set_xlim(max(0, start - margin_s), start + margin_s)
        sound.set_title(f"Frame {frame}: " + "; ".join(f"{name} {_placed(cut, frame)}" for name, cut in chunks.items()))
        fig.legend(loc="outside lower center", ncols=3)
        mel.set_xlabel("time in s")
    return fig


def _draw_window(
    axes: np.ndarray, chunks: Chunks, frame: int, name: str, colour: str, height: tuple[float, float]
) -> None:
    """Shade the stretch of sound that a frame's rows are centred on."""
    window = span_s(rows_of(chunks, frame))
    if window is None:
        return
    axes[0].axvspan(*window, *height, facecolor=colour, alpha=0.25, label=f"rows of its chunk, {name}")
    for ax in axes:
        for edge in window:
            ax.axvline(edge, *height, color=colour)


def _placed(chunks: Chunks, frame: int) -> str:
    """Write where a frame's chunk lies."""
    rows = rows_of(chunks, frame)
    return "no chunk" if rows is None else covered(rows, chunks.lag_ms()[chunks.index_of(frame)])


def covered(rows: np.ndarray, lag_ms: float) -> str:
    """Write how much audio a chunk's rows cover, and its lag (NaN at an edge)."""
    length = ROW_MS * len(set(rows[rows != ZERO_ROW].tolist()))
    return f"covers {length} ms, " + ("at an edge" if np.isnan(lag_ms) else f"lag {signed(lag_ms)} ms")


def _draw_waveform(ax: Axes, waveform: np.ndarray, start_s: float, stop_s: float) -> None:
    first, last = max(0, int(start_s * SAMPLE_RATE)), int(stop_s * SAMPLE_RATE)
    samples = waveform[first:last]
    ax.plot((first + np.arange(len(samples))) / SAMPLE_RATE, samples, color="0.35", linewidth=0.6)
    ax.set_ylabel("amplitude\n(full scale 1)")


def _draw_log_mel(ax: Axes, waveform: np.ndarray) -> None:
    image = whole_log_mel(waveform)
    extent = (-0.5 * MEL_HOP / SAMPLE_RATE, (image.shape[1] - 0.5) * MEL_HOP / SAMPLE_RATE, -0.5, len(image) - 0.5)
    shown = ax.imshow(image, origin="lower", aspect="auto", extent=extent, cmap="gray_r")
    ax.set_ylabel("mel bin")
    ax.figure.colorbar(shown, ax=ax, label="log-mel, normalised", pad=0.01)


def feature_map(features: np.ndarray, *, weights: str, title: str) -> Figure:
    """Draw features over time, one strip a layer, every dimension standardised.

    Parameters
    ----------
    features : ndarray, shape (n_rows, n_layers, width)
        What `audio2feat` returns.
    weights : str
        Name of the encoder that made them, shown in the figure.
    title : str
        What is seen.

    Returns
    -------
    Figure
    """
    n_rows, n_layers, width = features.shape
    with figure(n_layers, 1, sharex=True, figsize=(9, 1.1 * n_layers + 1)) as (fig, axes):
        for layer, ax in enumerate(axes[:, 0]):
            strip = np.asarray(features[:, layer], np.float32).T
            strip = (strip - strip.mean(axis=1, keepdims=True)) / (strip.std(axis=1, keepdims=True) + 1e-9)
            extent = (-0.5 / ROW_RATE, (n_rows - 0.5) / ROW_RATE, width, 0)
            shown = ax.imshow(strip, aspect="auto", extent=extent, cmap="PuOr", vmin=-3, vmax=3)
            ax.set_ylabel(f"layer {layer}", rotation=0, ha="right", va="center")
            ax.set_yticks([0, width])
        axes[0, 0].set_title(f"{title} · weights: {weights}")
        axes[-1, 0].set_xlabel("time in s (50 rows a second)")
        fig.colorbar(shown, ax=axes, label="standard deviations from\neach dimension's mean", pad=0.01)
    return fig


def chunk_images(given: dict[str, np.ndarray], *, frame: int, weights: str) -> Figure:
    """Draw what a model is given for one frame, a panel for each side.

    Parameters
    ----------
    given : dict of str to ndarray, shape (rows_per_chunk · n_layers, width)
        Chunks of one frame, by name.
    frame : int
        Number of the video frame.
    weights : str
        Name of the encoder.

    Returns
    -------
    Figure
    """
    limit = max(float(np.abs(chunk).max()) for chunk in given.values()) or 1.0
    with figure(1, len(given), sharex=True, sharey=True, figsize=(11, 3.4)) as (fig, axes):
        for ax, (name, chunk) in zip(axes[0], given.items(), strict=True):
            shown = ax.imshow(chunk, aspect="auto", cmap="PuOr", vmin=-limit, vmax=limit)
            ax.set_title(name)
            ax.set_xlabel("dimension")
        axes[0, 0].set_ylabel("row of the chunk (row, then layer)")
        fig.colorbar(shown, ax=axes, label="value", pad=0.01)
        fig.suptitle(f"What the model is given for frame {frame} · weights: {weights}", x=0.01, ha="left", fontsize=11)
    return fig


def edge_tables(
    train: Chunks, infer: Chunks, *, n_frames: int = 5, names: tuple[str, str] = ("training", "inference")
) -> Figure:
    """Draw both index matrices at the two ends of a clip, with a frame around what differs.

    Parameters
    ----------
    train, infer : Chunks
        Chunks of one clip, made by two paths.
    n_frames : int, default 5
        Frames shown at each end.
    names : (str, str)
        What the two are called in the figure.

    Returns
    -------
    Figure
    """
    stop = max(train.frames.stop, infer.frames.stop)
    ends = (range(min(n_frames, stop)), range(max(0, stop - n_frames), stop))
    with figure(2, 2, figsize=(11, 0.36 * 2 * n_frames + 2)) as (fig, axes):
        for row, (name, colour, chunks, other) in enumerate(
            ((names[0], TRAIN, train, infer), (names[1], INFER, infer, train))
        ):
            for column, frames in enumerate(ends):
                _draw_table(axes[row, column], chunks, other, frames, colour)
                axes[row, column].set_title(f"{name}: {('first', 'last')[column]} frames", color=colour)
        axes[1, 0].set_xlabel("position in the chunk")
        axes[1, 1].set_xlabel("position in the chunk")
        fig.legend(handles=_table_key(), loc="outside lower center", ncols=4)
    return fig


def _draw_table(ax: Axes, chunks: Chunks, other: Chunks, frames: range, colour: str) -> None:
    """Write the row numbers of some frames into cells; frame those that differ from the other path's."""
    width = chunks.rows.shape[1]
    for y, frame in enumerate(frames):
        rows = rows_of(chunks, frame)
        theirs = rows_of(other, frame)
        for j in range(width):
            _draw_cell(
                ax, j, y, None if rows is None else int(rows[j]), repeated=rows is not None and _repeats(rows, j)
            )
        if rows is None or theirs is None or not np.array_equal(rows, theirs):
            ax.add_patch(Rectangle((-0.5, y - 0.5), width, 1, fill=False, edgecolor=colour, linewidth=2))
    ax.set(xlim=(-0.6, width - 0.4), ylim=(len(frames) - 0.4, -0.6), xticks=range(width))
    ax.set_yticks(range(len(frames)), [f"frame {frame}" for frame in frames])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _draw_cell(ax: Axes, x: int, y: int, row: int | None, *, repeated: bool) -> None:
    face = "white" if row is None else "0.75" if row == ZERO_ROW else COLOURS["yellow"] if repeated else "#EAF4FB"
    ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor="0.8", linewidth=0.5))
    text = "–" if row is None else "" if row == ZERO_ROW else str(row)
    ax.text(x, y, text, ha="center", va="center", fontsize=8, color="0.5" if row is None else "black")


def rows_of(chunks: Chunks, frame: int) -> np.ndarray | None:
    """Return the rows that a frame takes; None if it has no chunk."""
    return chunks.rows[chunks.index_of(frame)] if frame in chunks.frames else None


def span_s(rows: np.ndarray | None) -> tuple[float, float] | None:
    """Return the stretch that a chunk's rows are centred on, in seconds; None if it has none but zeros."""
    taken = rows[rows != ZERO_ROW] if rows is not None else ()
    return ((taken.min() - 0.5) / ROW_RATE, (taken.max() + 0.5) / ROW_RATE) if len(taken) else None


def _repeats(rows: np.ndarray, j: int) -> bool:
    return bool((rows == rows[j]).sum() > 1)


def _table_key() -> list[Patch]:
    return [
        Patch(facecolor="#EAF4FB", edgecolor="0.8", label="row of the features"),
        Patch(facecolor=COLOURS["yellow"], edgecolor="0.8", label="first or last row, repeated"),
        Patch(facecolor="0.75", edgecolor="0.8", label="row of zeros"),
        Patch(
            facecolor="white", edgecolor="black", linewidth=2, label="framed: differs from the other path (–: no chunk)"
        ),
    ]
