"""Figures of training's and inference's chunks: of one frame, of one clip, of every frame of several pairs."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from musetools.chunks.rows import ZERO_ROW
from musetools.chunks.sequence import Chunks
from musetools.features.mel import whole_log_mel
from musetools.lab.difference.measure import KINDS, Comparison
from musetools.lab.look import COLOURS, INFER, OWN, TRAIN, covered, figure, rows_of, span_s
from musetools.timing import MEL_HOP, ROW_RATE, SAMPLE_RATE

__all__ = ["edge_figure", "feature_figure", "frame_figure", "input_figure", "outcome_figure"]

CELLS = {  # what a cell of an index matrix holds, and its colour
    "row of the features": "#EAF4FB",
    "first or last row, repeated": COLOURS["yellow"],
    "row of zeros": "0.75",
    "–: no chunk": "white",
}
NO_CHUNK = ZERO_ROW - 1  # drawn for the rows of a frame that has no chunk
SIDES = (TRAIN, INFER, OWN)
KIND_COLOURS = dict(zip(KINDS, (COLOURS["sky"], COLOURS["yellow"], COLOURS["black"], COLOURS["purple"]), strict=True))
MARGIN_S, N_FRAMES = 0.4, 5  # shown either side of a frame, and at each end of a clip


def feature_figure(features: np.ndarray, *, weights: str, title: str) -> Figure:
    """Draw features over time, one strip a layer, every dimension standardised.

    Parameters
    ----------
    features : ndarray, shape (n_rows, n_layers, width)
        What `audio2feat` returns.
    weights : str
        Name of the encoder that made them, shown in the figure.
    title : str
        What is shown.

    Returns
    -------
    Figure
    """
    n_rows, n_layers, width = features.shape
    extent = (-0.5 / ROW_RATE, (n_rows - 0.5) / ROW_RATE, width, 0)
    with figure(n_layers, 1, sharex=True, figsize=(9, 1.1 * n_layers + 1)) as (fig, axes):
        for layer, ax in enumerate(axes[:, 0]):
            strip = np.asarray(features[:, layer], np.float32)
            strip = (strip - strip.mean(axis=0)) / (strip.std(axis=0) + 1e-9)
            shown = ax.imshow(strip.T, aspect="auto", extent=extent, cmap="PuOr", vmin=-3, vmax=3)
            ax.set_ylabel(f"layer {layer}", rotation=0, ha="right", va="center")
            ax.set_yticks([0, width])
        axes[0, 0].set_title(f"{title} · weights: {weights}")
        axes[-1, 0].set_xlabel("time in s (50 rows a second)")
        fig.colorbar(shown, ax=axes, label="standard deviations from\neach dimension's mean", pad=0.01)
    return fig


def frame_figure(waveform: np.ndarray, chunks: dict[str, Chunks], frame: int) -> Figure:
    """Draw what the chunk of one video frame covers: the waveform and log-mel around it, and the chunk's rows.

    Parameters
    ----------
    waveform : ndarray of float32, shape (n_samples,)
        Mono, 16 kHz.
    chunks : dict of str to Chunks
        One to three recipes' chunks of that waveform, by their names, training first.
    frame : int
        Number of the video frame.

    Returns
    -------
    Figure
    """
    start, placed, log_mel = float(frame / next(iter(chunks.values())).fps), [], whole_log_mel(waveform)
    first, stop = (max(0, int((start + side) * SAMPLE_RATE)) for side in (-MARGIN_S, MARGIN_S))
    samples = waveform[first:stop]
    with figure(2, 1, sharex=True, figsize=(9, 5)) as (fig, axes):
        sound, mel = axes[:, 0]
        sound.plot((first + np.arange(len(samples))) / SAMPLE_RATE, samples, color="0.35", linewidth=0.6)
        extent = ((np.array([0, log_mel.shape[1]]) - 0.5) * MEL_HOP / SAMPLE_RATE).tolist()
        extent += [-0.5, len(log_mel) - 0.5]
        shown = mel.imshow(log_mel, origin="lower", aspect="auto", extent=extent, cmap="gray_r")
        fig.colorbar(shown, ax=mel, label="log-mel, normalised", pad=0.01)
        for i, (name, side, colour) in enumerate(zip(chunks, chunks.values(), SIDES, strict=False)):
            rows, height = rows_of(side, frame), (i / len(chunks), (i + 1) / len(chunks))
            lag = None if rows is None else side.lag_ms()[side.index_of(frame)]
            placed.append(f"{name} {'no chunk' if rows is None else covered(rows, lag)}")
            if span := span_s(rows):
                sound.axvspan(*span, *height, facecolor=colour, alpha=0.25, label=f"rows of its chunk, {name}")
                for ax, edge in product((sound, mel), span):
                    ax.axvline(edge, *height, color=colour)
        sound.axvline(start, color=COLOURS["black"], linestyle="--", label=f"frame {frame} starts")
        mel.axvline(start, color=COLOURS["black"], linestyle="--")
        sound.set(xlim=(max(0, start - MARGIN_S), start + MARGIN_S), ylabel="amplitude\n(full scale 1)")
        mel.set(xlabel="time in s", ylabel="mel bin")
        between = ";\n" if len(placed) > 2 else "; "
        sound.set_title(f"Frame {frame}: {between.join(placed)}")
        fig.legend(loc="outside lower center", ncols=3)
    return fig


def edge_figure(chunks: dict[str, Chunks]) -> Figure:
    """Draw index matrices at both ends of a clip, with a frame around what differs.

    Parameters
    ----------
    chunks : dict of str to Chunks
        Two or three recipes' chunks of one clip, by their names, training first.

    Returns
    -------
    Figure
    """
    stop = max(side.frames.stop for side in chunks.values())
    tables = np.full((len(chunks), stop, next(iter(chunks.values())).rows.shape[1]), NO_CHUNK)
    for table, side in zip(tables, chunks.values(), strict=True):
        table[side.frames.start : side.frames.stop] = side.rows
    differ = (tables != tables[0]).any(axis=(0, 2))
    ends = {"first": range(min(N_FRAMES, stop)), "last": range(max(0, stop - N_FRAMES), stop)}
    with figure(len(chunks), 2, figsize=(11, 0.36 * len(chunks) * N_FRAMES + 2)) as (fig, axes):
        for across, (end, frames) in zip(axes.T, ends.items(), strict=True):
            for ax, name, table, colour in zip(across, chunks, tables, SIDES, strict=False):
                _draw_table(ax, table[frames], frames, differ[frames], colour)
                ax.set_title(f"{name}: {end} frames", color=colour)
            across[-1].set_xlabel("position in the chunk")
        key = [Patch(facecolor=colour, edgecolor="0.8", label=label) for label, colour in CELLS.items()]
        key.append(Patch(facecolor="white", edgecolor="black", linewidth=2, label="framed: the sides differ"))
        fig.legend(handles=key, loc="outside lower center", ncols=5)
    return fig


def _draw_table(ax: Axes, table: np.ndarray, frames: range, framed: np.ndarray, colour: str) -> None:
    height, width = table.shape
    repeated = (table[:, :, None] == table[:, None]).sum(axis=2) > 1
    kinds = np.select([table == NO_CHUNK, table == ZERO_ROW, repeated], [3, 2, 1], 0)
    cells = ListedColormap(list(CELLS.values()))
    ax.pcolormesh(kinds, cmap=cells, vmin=-0.5, vmax=len(CELLS) - 0.5, edgecolors="0.8", linewidth=0.5)
    for (y, x), row in np.ndenumerate(table):
        text = {NO_CHUNK: "–", ZERO_ROW: ""}.get(row, str(row))
        ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8)
    for y in np.flatnonzero(framed):
        ax.add_patch(Rectangle((0, y), width, 1, fill=False, edgecolor=colour, linewidth=2))
    ax.set(xlim=(-0.1, width + 0.1), ylim=(height + 0.1, -0.1))
    ax.set_xticks(np.arange(width) + 0.5, range(width))
    ax.set_yticks(np.arange(height) + 0.5, [f"frame {frame}" for frame in frames])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def input_figure(given: dict[str, np.ndarray], *, frame: int, weights: str) -> Figure:
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
    # a few values of v1's last layer are a hundred times the rest
    limit = max(float(np.percentile(np.abs(chunk), 99)) for chunk in given.values()) or 1.0
    with figure(1, len(given), sharex=True, sharey=True, figsize=(11, 3.4)) as (fig, axes):
        for ax, (name, chunk) in zip(axes[0], given.items(), strict=True):
            shown = ax.imshow(chunk, aspect="auto", cmap="PuOr", vmin=-limit, vmax=limit)
            ax.set(xlabel="dimension", title=name)
        axes[0, 0].set_ylabel("row of the chunk (row, then layer)")
        fig.colorbar(shown, ax=axes, label="value", pad=0.01, extend="both")
        fig.suptitle(f"What the model is given for frame {frame} · weights: {weights}", x=0.01, ha="left", fontsize=11)
    return fig


def outcome_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Draw what becomes of each frame of one or more pairs of recipes, a strip each.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Pairs on a clip or over a minute.

    Returns
    -------
    Figure
    """
    longest = max(len(compared.kinds) / compared.fps for compared in comparisons)
    with figure(figsize=(11, 1.5 + 0.55 * len(comparisons))) as (fig, axes):
        ax = axes[0, 0]
        for y, compared in enumerate(comparisons):
            kinds, fps = compared.kinds, compared.fps
            starts = np.flatnonzero(np.append(True, kinds[1:] != kinds[:-1]))
            widths = np.diff(starts, append=len(kinds))
            for kind, colour in KIND_COLOURS.items():
                here = kinds[starts] == kind
                spans = list(zip(starts[here] / fps, widths[here] / fps, strict=True))
                # an edge of a few frames is thinner than a line: its outline, drawn last, keeps it visible
                ax.broken_barh(spans, (y - 0.32, 0.64), facecolor=colour, edgecolor=colour, linewidth=1)
            counts = "; ".join(f"{count} {kind}" for kind, count in compared.counts().items() if count)
            ax.text(len(kinds) / fps + 0.5, y, counts, va="center", fontsize=9)
        labels = ["\n".join(compared.names) + f", {compared.where}" for compared in comparisons]
        ax.set_yticks(range(len(comparisons)), labels)
        ax.set(xlabel="time of the frame in s", ylim=(len(comparisons) - 0.5, -0.5))
        ax.set_xlim(-0.01 * longest, 1.9 * longest)  # counts stand at the right
        ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick <= longest])
        first = np.concatenate([compared.kinds for compared in comparisons[:2]])  # of a clip and over a minute
        share = f"{100 * (first == KINDS[0]).mean():.1f} %"
        ax.set_title(f"{comparisons[0].pair}: {share} of all frames get the same chunk on both sides")
        handles = [Patch(color=colour, label=kind) for kind, colour in KIND_COLOURS.items()]
        fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return fig
