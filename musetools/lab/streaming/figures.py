"""Live streams in tables, figures and sentences."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musetools.check.findings import SILENT_DBFS
from musetools.features.spec import EncoderWindow
from musetools.infer.stream import ChunkStream
from musetools.lab.look import COLOURS, INFER, MARKS, figure
from musetools.lab.streaming.measure import REFERENCE, Arrival, WindowCost, segment_levels, segment_sentence
from musetools.table import Table
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["cost_table", "grid_figure", "layer_figure", "memory_figure", "segment_figure", "timeline_figure"]

DISTANCE = "distance from offline\nin standard deviations"
Grid = Sequence[Sequence[WindowCost]]


def grid_figure(grid: Grid, *, weights: str) -> Figure:
    """Draw distance and computing of every left context and look-ahead, latency with each look-ahead."""
    far = np.array([[cost.overall for cost in costs] for costs in grid])
    busy = np.array([[100 * cost.of_real_time for cost in costs] for costs in grid])
    lefts = [f"{costs[0].window.left_s:g} s" for costs in grid]
    ahead = [f"{cost.window.right_s:g} s ahead\nlatency {cost.latency_s:.2f} s" for cost in grid[0]]
    with figure(1, 2, figsize=(10, 0.5 * len(grid) + 2)) as (fig, axes):
        for ax, values, digits, label in (
            (axes[0, 0], far, 3, DISTANCE),
            (axes[0, 1], busy, 1, "computing in % of real time,\none thread"),
        ):
            _draw_cells(ax, values, digits, label)
            ax.set_xticks(range(len(ahead)), ahead)
            ax.set_yticks(range(len(lefts)), lefts)
        axes[0, 0].set_ylabel("left context")
        axes[0, 0].set_title(
            f"Left context brings features nearer · weights: {weights}"
            if _left_wins(far)
            else f"Distance by window · weights: {weights}"
        )
        axes[0, 1].set_title(f"Computing takes up to {busy.max():.0f} % of real time")
    return fig


def _left_wins(far: np.ndarray) -> bool:
    """Return whether the distance falls more with left context than with look-ahead."""
    return bool((far[0] - far[-1]).mean() > (far[:, 0] - far[:, -1]).mean())


def _draw_cells(ax: Axes, values: np.ndarray, digits: int, label: str) -> None:
    shown = ax.imshow(values, cmap="cividis", aspect="auto", vmin=0)
    for (y, x), value in np.ndenumerate(values):
        dark = value < 0.6 * values.max()
        ax.text(x, y, f"{value:.{digits}f}", ha="center", va="center", color="white" if dark else "black")
    ax.figure.colorbar(shown, ax=ax, label=label, pad=0.02)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def layer_figure(costs: dict[str, WindowCost], *, weights: str) -> Figure:
    """Draw the distance from offline features layer by layer, a curve for each way to stream."""
    styles = [(mark, colour) for mark, colour in MARKS.items()] + [("v-", INFER), ("x--", COLOURS["sky"])]
    with figure(figsize=(9, 3.6)) as (fig, axes):
        ax = axes[0, 0]
        for (name, cost), (mark, colour) in zip(costs.items(), styles, strict=False):
            label = f"{name}: {cost.latency_s:.2f} s behind, {100 * cost.of_real_time:.0f} % of a core"
            ax.plot(cost.by_layer, mark, color=colour, fillstyle="none", label=label)
        ax.set(xlabel="layer", ylabel=DISTANCE)
        ax.set_xticks(range(len(cost.by_layer)))
        ax.set_ylim(bottom=-0.02)
        nearest = min(costs, key=lambda name: costs[name].overall)
        ax.set_title(f"Nearest to offline: {nearest} · weights: {weights}")
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
    settled = mib[len(mib) // 10 :]
    with figure(figsize=(9, 2.8)) as (fig, axes):
        ax = axes[0, 0]
        ax.plot(hours, mib, color=INFER, label="this process, stream and encoder")
        ax.set(xlabel="hours of audio pushed", ylabel="resident memory in MiB", ylim=(0, 1.25 * mib.max()))
        ax.set_title(f"After a tenth of {hours[-1]:.2g} h the memory moves within {np.ptp(settled):.1f} MiB")
        ax.legend(loc="lower right")
    return fig


def segment_figure(by_name: dict[str, np.ndarray], windows: dict[str, EncoderWindow], *, weights: str) -> Figure:
    """Draw each row's distance from one with as much audio before as after it, over time, all layers together.

    Parameters
    ----------
    by_name : dict of str to ndarray, shape (n_rows, n_layers)
        What `row_distance` returns, for two kinds of segments.
    windows : dict of str to EncoderWindow
        Their windows.
    weights : str
        Name of the encoder.

    Returns
    -------
    Figure
    """
    n_rows = min(map(len, by_name.values()))
    with figure(figsize=(9, 3.2)) as (fig, axes):
        ax = axes[0, 0]
        for (name, rows), (mark, colour) in zip(by_name.items(), MARKS.items(), strict=False):
            level = np.sqrt(np.square(rows[:n_rows]).mean(axis=1))
            level[: REFERENCE.left] = level[n_rows - REFERENCE.right :] = np.nan  # the reference lacks audio there
            ax.plot(np.arange(n_rows) / ROW_RATE, level, mark[1:], color=colour, linewidth=1, label=name)
            hop = windows[name].hop
            for row in range(hop, n_rows, hop):
                label = f"its segment boundaries, every {hop / ROW_RATE:g} s" if row == hop else None
                ax.axvline(row / ROW_RATE, linestyle=":", color=colour, label=label)
        ax.set(xlabel="time in s", ylabel=f"distance from rows with\n{REFERENCE.left_s:g} s either side, in std. dev.")
        ax.set_xlim(REFERENCE.left / ROW_RATE, (n_rows - REFERENCE.right) / ROW_RATE)
        ax.set_ylim(bottom=0)
        ax.set_title(f"{segment_sentence(segment_levels(by_name, windows))} · weights: {weights}")
        fig.legend(loc="outside lower center", ncols=4)
    return fig


def timeline_figure(came: Sequence[Arrival], waveform: np.ndarray, stream: ChunkStream) -> Figure:
    """Draw a live demonstration: the sound, the delay of each frame's chunk, the loudness of each frame."""
    start = np.array([arrival.start_s for arrival in came])
    late = 1000 * np.array([arrival.late_s for arrival in came])
    loud = np.array([arrival.loudness for arrival in came])
    with figure(3, 1, sharex=True, figsize=(9, 5.4), height_ratios=(1, 1.6, 1)) as (fig, axes):
        sound, lateness, level = axes[:, 0]
        sound.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, color="0.35", linewidth=0.5)
        sound.set_ylabel("amplitude\n(full scale 1)")
        lateness.plot(start, late, ".", color=INFER, markersize=4, label="chunk came")
        expected, computing = 1000 * stream.latency_s, 1000 * stream.compute.longest_s
        lateness.axhline(expected, color=COLOURS["black"], linestyle="--", label="algorithmic latency, at most")
        lateness.axhline(expected + computing, color=COLOURS["black"], linestyle=":", label="and the longest step")
        lateness.set_ylim(0, 1.25 * max(late.max(), expected + computing))
        lateness.set_ylabel("ms after the\nframe's start")
        lateness.legend(loc="lower right", ncols=3)
        level.plot(start, loud, color=COLOURS["green"], label="loudness of the frame")
        level.axhline(
            SILENT_DBFS, color="0.6", linestyle=":", label=f"{SILENT_DBFS:g} dBFS: hold the mouth still below"
        )
        level.set(xlabel="time in the audio in s", ylabel="loudness\nin dBFS")
        level.legend(loc="lower right", ncols=2)
        sound.set_title(f"Every chunk came {late.min():.0f} to {late.max():.0f} ms after its frame's start")
    return fig
