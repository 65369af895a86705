"""Live streams in a table and figures."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musetools.check.findings import SILENT_DBFS
from musetools.features.spec import EncoderWindow
from musetools.infer.stream import ChunkStream
from musetools.lab.look import COLOURS, INFER, MARKS, figure
from musetools.lab.streaming.measure import REFERENCE, WindowCost, segment_levels, segment_sentence
from musetools.table import Table
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["cost_table", "grid_figure", "layer_figure", "memory_figure", "segment_figure", "timeline_figure"]

DISTANCE = "distance from offline\nin standard deviations"
Grid = Sequence[Sequence[WindowCost]]


def grid_figure(grid: Grid, *, weights: str) -> Figure:
    """Draw distance and computing of every left context and look-ahead, latency with each look-ahead."""
    far = np.array([[cost.overall for cost in costs] for costs in grid])
    busy = np.array([[100 * cost.of_real_time for cost in costs] for costs in grid])
    left_wins = (far[0] - far[-1]).mean() > (far[:, 0] - far[:, -1]).mean()
    title = "Left context brings features nearer" if left_wins else "Distance by window"
    with figure(1, 2, figsize=(10, 0.5 * len(grid) + 2.2)) as (fig, axes):
        _draw_cells(axes[0, 0], grid, far, ".3f", DISTANCE, f"{title}\nweights: {weights}")
        label = "computing in % of real time,\none thread"
        _draw_cells(axes[0, 1], grid, busy, ".1f", label, f"Computing takes up to {busy.max():.0f} % of real time")
        axes[0, 0].set_ylabel("left context")
    return fig


def _draw_cells(ax: Axes, grid: Grid, values: np.ndarray, form: str, label: str, title: str) -> None:
    shown = ax.imshow(values, cmap="cividis", aspect="auto", vmin=0)
    for (y, x), value in np.ndenumerate(values):
        colour = "white" if value < 0.6 * values.max() else "black"
        ax.text(x, y, f"{value:{form}}", ha="center", va="center", color=colour)
    ax.figure.colorbar(shown, ax=ax, label=label, pad=0.02)
    ahead = [f"{cost.window.right_s:g} s ahead\nlatency {cost.latency_s:.2f} s" for cost in grid[0]]
    ax.set_xticks(range(len(ahead)), ahead)
    ax.set_yticks(range(len(grid)), [f"{costs[0].window.left_s:g} s" for costs in grid])
    ax.tick_params(length=0)
    ax.set_title(title)
    ax.spines[:].set_visible(False)


def layer_figure(costs: dict[str, WindowCost], *, weights: str) -> Figure:
    """Draw the distance from offline features layer by layer, a curve for each way to stream."""
    styles = [*MARKS.items(), ("v-", INFER), ("x--", COLOURS["sky"])]
    with figure(figsize=(10.5, 3.8)) as (fig, axes):
        ax = axes[0, 0]
        for (name, cost), (mark, colour) in zip(costs.items(), styles, strict=False):
            label = f"{name}: {cost.latency_s:.2f} s behind, {100 * cost.of_real_time:.0f} % of a core"
            ax.plot(cost.by_layer, mark, color=colour, fillstyle="none", label=label)
        nearest = min(costs, key=lambda name: costs[name].overall)
        ax.set(xlabel="layer", ylabel=DISTANCE, xticks=range(len(cost.by_layer)))
        ax.set(ylim=(-0.02, None), title=f"Nearest to offline: {nearest} · weights: {weights}")
        fig.legend(loc="outside lower center", ncols=2)
    return fig


def cost_table(costs: dict[str, WindowCost]) -> Table:
    """Return what each way to stream costs, and how far it is from offline."""
    cells = [
        [
            name,
            f"{cost.window.left_s:g}, {cost.window.hop_s:g}, {cost.window.right_s:g}",
            "not padded" if cost.window.pad_to_s is None else f"{cost.window.pad_to_s:g} s",
            cost.window.positions,
            f"{cost.latency_s:.2f} s",
            f"{cost.step_ms:.1f} ms",
            f"{100 * cost.of_real_time:.1f} %",
            *(f"{value:.3f}" for value in cost.by_layer),
        ]
        for name, cost in costs.items()
    ]
    layers = [f"layer {i}" for i in range(len(cells[0]) - 7)]
    head = ["", "left, hop, look-ahead in s", "padded to", "positions of", "latency", "a step", "of one core", *layers]
    return Table(head, cells, "Layers: distance from the offline features, in standard deviations of that layer.")


def memory_figure(readings: np.ndarray) -> Figure:
    """Draw the memory of the process as hours of audio pass."""
    hours, mib = readings.T
    moves = np.ptp(mib[len(mib) // 10 :])
    with figure(figsize=(9, 2.8)) as (fig, axes):
        ax = axes[0, 0]
        ax.plot(hours, mib, color=INFER, label="this process, stream and encoder")
        ax.set(xlabel="hours of audio pushed", ylabel="resident memory in MiB")
        ax.set(xlim=(0, None), ylim=(0, 1.25 * mib.max()))
        ax.set_title(f"After a tenth of {hours[-1]:.2g} h the memory moves within {moves:.1f} MiB")
        ax.legend(loc="lower right")
    return fig


def segment_figure(gaps: dict[str, np.ndarray], windows: dict[str, EncoderWindow], *, weights: str) -> Figure:
    """Draw each row's distance from one with as much audio before as after it, over time, all layers together.

    Parameters
    ----------
    gaps : dict of str to ndarray, shape (n_rows, n_layers)
        What `row_distance` returns, for up to four kinds of segments.
    windows : dict of str to EncoderWindow
        Their windows.
    weights : str
        Name of the encoder.

    Returns
    -------
    Figure
    """
    n_rows = min(map(len, gaps.values()))
    inside = np.arange(REFERENCE.left, n_rows - REFERENCE.right)  # elsewhere the reference lacks audio
    with figure(figsize=(9, 3.2)) as (fig, axes):
        ax = axes[0, 0]
        for (name, rows), (mark, colour) in zip(gaps.items(), MARKS.items(), strict=False):
            level = np.sqrt(np.square(rows[inside]).mean(axis=1))
            ax.plot(inside / ROW_RATE, level, mark[1:], color=colour, linewidth=1, label=name)
            hop = windows[name].hop
            for row in range(hop, n_rows, hop):
                label = f"its segment boundaries, every {hop / ROW_RATE:g} s" if row == hop else None
                ax.axvline(row / ROW_RATE, linestyle=":", color=colour, label=label)
        ax.set(xlabel="time in s", ylabel=f"distance from rows with\n{REFERENCE.left_s:g} s either side, in std. dev.")
        ax.set(xlim=(REFERENCE.left / ROW_RATE, (n_rows - REFERENCE.right) / ROW_RATE), ylim=(0, None))
        ax.set_title(f"{segment_sentence(segment_levels(gaps, windows))} · weights: {weights}")
        fig.legend(loc="outside lower center", ncols=4)
    return fig


def timeline_figure(came: np.recarray, waveform: np.ndarray, stream: ChunkStream) -> Figure:
    """Draw a live demonstration: the waveform, the delay of each frame's chunk, the loudness of each frame."""
    late, expected = 1000 * came.late_s, 1000 * stream.latency_s
    slowest = expected + 1000 * stream.compute.longest_s
    with figure(3, 1, sharex=True, figsize=(9, 5.4), height_ratios=(1, 1.6, 1)) as (fig, axes):
        sound, delay, level = axes[:, 0]
        sound.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, color="0.35", linewidth=0.5)
        sound.set_ylabel("amplitude\n(full scale 1)")
        sound.set_title(f"Every chunk came {late.min():.0f} to {late.max():.0f} ms after its frame's start")
        delay.plot(came.start_s, late, ".", color=INFER, markersize=4, label="chunk came")
        delay.axhline(expected, color="black", linestyle="--", label="algorithmic latency, at most")
        delay.axhline(slowest, color="black", linestyle=":", label="and the longest step")
        delay.set(ylim=(0, 1.25 * max(late.max(), slowest)), ylabel="ms after the\nframe's start")
        delay.legend(loc="lower right", ncols=3)
        level.plot(came.start_s, came.loudness, color=COLOURS["green"], label="loudness of the frame")
        silent = f"{SILENT_DBFS:g} dBFS: hold the mouth still below"
        level.axhline(SILENT_DBFS, color="0.6", linestyle=":", label=silent)
        level.set(xlabel="time in the audio in s", ylabel="loudness\nin dBFS")
        level.legend(loc="lower right", ncols=2)
    return fig
