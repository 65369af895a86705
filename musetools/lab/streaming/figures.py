"""Live streams in tables, figures and sentences."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musetools.check.findings import SILENT_DBFS
from musetools.features.spec import EncoderWindow
from musetools.infer.stream import ChunkStream
from musetools.lab.look import COLOURS, INFER, MARKS, figure
from musetools.lab.streaming.measure import REFERENCE, Arrival, WindowCost, seam_levels
from musetools.table import Table
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["cost_table", "grid_figure", "layer_figure", "memory_figure", "seam_figure", "timeline_figure", "verdict"]

DISTANCE = "distance from offline\nin standard deviations"
Grid = Sequence[Sequence[WindowCost]]


def grid_figure(grid: Grid, *, weights: str) -> Figure:
    """Draw distance and computing of every left context and look-ahead, latency with each look-ahead."""
    far = np.array([[cost.overall for cost in line] for line in grid])
    busy = np.array([[100 * cost.of_real_time for cost in line] for line in grid])
    lefts = [f"{line[0].window.left_s:g} s" for line in grid]
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
        axes[0, 0].set_title(f"Left context buys nearness · weights: {weights}" if _left_wins(far) else _plain(weights))
        axes[0, 1].set_title(f"and costs up to {busy.max():.0f} % of real time")
    return fig


def _left_wins(far: np.ndarray) -> bool:
    """Tell whether the distance falls more down a column than along a line."""
    return bool((far[0] - far[-1]).mean() > (far[:, 0] - far[:, -1]).mean())


def _plain(weights: str) -> str:
    return f"Distance by window · weights: {weights}"


def _draw_cells(ax: Axes, values: np.ndarray, digits: int, label: str) -> None:
    shown = ax.imshow(values, cmap="cividis", aspect="auto", vmin=0)
    for (line, column), value in np.ndenumerate(values):
        dark = value < 0.6 * values.max()
        ax.text(column, line, f"{value:.{digits}f}", ha="center", va="center", color="white" if dark else "black")
    ax.figure.colorbar(shown, ax=ax, label=label, pad=0.02)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def layer_figure(costs: dict[str, WindowCost], *, weights: str) -> Figure:
    """Draw the distance from offline features layer by layer, a line for each way to stream."""
    styles = [(mark, colour) for mark, colour in MARKS.items()] + [("v-", INFER), ("x--", COLOURS["sky"])]
    with figure(figsize=(9, 3.6)) as (fig, axes):
        ax = axes[0, 0]
        for (name, cost), (mark, colour) in zip(costs.items(), styles, strict=False):
            told = f"{name}: {cost.latency_s:.2f} s behind, {100 * cost.of_real_time:.0f} % of a core"
            ax.plot(cost.by_layer, mark, color=colour, fillstyle="none", label=told)
        ax.set(xlabel="layer", ylabel=DISTANCE)
        ax.set_xticks(range(len(cost.by_layer)))
        ax.set_ylim(bottom=-0.02)
        nearest = min(costs, key=lambda name: costs[name].overall)
        ax.set_title(f"Nearest to offline: {nearest} · weights: {weights}")
        fig.legend(loc="outside lower center", ncols=2)
    return fig


def cost_table(costs: dict[str, WindowCost]) -> Table:
    """Return what each way to stream costs, and how far it is from offline."""
    lines = [
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
    layers = [f"layer {i}" for i in range(len(lines[0]) - 7)]
    head = ["", "left, hop, look-ahead in s", "padded to", "positions of", "latency", "a step", "of one core", *layers]
    return Table(head, lines, "Layers: distance from the offline features, in standard deviations of that layer.")


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


def seam_figure(by_name: dict[str, np.ndarray], windows: dict[str, EncoderWindow], *, weights: str) -> Figure:
    """Draw how far each row is from one that hears as much before as after it, over time, all layers together.

    Parameters
    ----------
    by_name : dict of str to ndarray, shape (n_rows, n_layers)
        What `row_distance` returns, for two ways to cut segments.
    windows : dict of str to EncoderWindow
        These ways.
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
            level[: REFERENCE.left] = level[n_rows - REFERENCE.right :] = np.nan  # the reference does not hear enough
            ax.plot(np.arange(n_rows) / ROW_RATE, level, mark[1:], color=colour, linewidth=1, label=name)
            hop = windows[name].hop
            for seam in range(hop, n_rows, hop):
                label = f"its seams, every {hop / ROW_RATE:g} s" if seam == hop else None
                ax.axvline(seam / ROW_RATE, linestyle=":", color=colour, label=label)
        ax.set(
            xlabel="time in s", ylabel=f"distance from rows that hear\n{REFERENCE.left_s:g} s either side, in std. dev."
        )
        ax.set_xlim(REFERENCE.left / ROW_RATE, (n_rows - REFERENCE.right) / ROW_RATE)
        ax.set_ylim(bottom=0)
        ax.set_title(f"{seam_sentence(seam_levels(by_name, windows))} · weights: {weights}")
        fig.legend(loc="outside lower center", ncols=4)
    return fig


def seam_sentence(levels: dict[str, float]) -> str:
    """Say how far off the farthest row beside a seam is."""
    return "Farthest row beside a seam: " + ", ".join(f"{name} {level:.2f}" for name, level in levels.items())


def timeline_figure(came: Sequence[Arrival], waveform: np.ndarray, stream: ChunkStream) -> Figure:
    """Draw a live demonstration: the sound, how late each frame's chunk came, how loud each frame is."""
    start = np.array([arrival.start_s for arrival in came])
    late = 1000 * np.array([arrival.late_s for arrival in came])
    loud = np.array([arrival.loudness for arrival in came])
    with figure(3, 1, sharex=True, figsize=(9, 5.4), height_ratios=(1, 1.6, 1)) as (fig, axes):
        sound, lateness, level = axes[:, 0]
        sound.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, color="0.35", linewidth=0.5)
        sound.set_ylabel("amplitude\n(full scale 1)")
        lateness.plot(start, late, ".", color=INFER, markersize=4, label="chunk came")
        promised, computing = 1000 * stream.latency_s, 1000 * stream.compute.longest_s
        lateness.axhline(promised, color=COLOURS["black"], linestyle="--", label="algorithmic latency, at most")
        lateness.axhline(promised + computing, color=COLOURS["black"], linestyle=":", label="and the longest step")
        lateness.set_ylim(0, 1.25 * max(late.max(), promised + computing))
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


def verdict(grid: Grid, costs: dict[str, WindowCost], baseline: str) -> list[str]:
    """Say what left context, look-ahead, positions and filling do."""
    first, last = grid[0], grid[-1]
    slow = costs[baseline]
    told = [
        f"Left context: from {first[-1].window.left_s:g} to {last[-1].window.left_s:g} s the distance from offline "
        f"falls from {first[-1].overall:.2f} to {last[-1].overall:.2f} standard deviations, and computing grows from "
        f"{100 * first[-1].of_real_time:.0f} to {100 * last[-1].of_real_time:.0f} % of real time.",
        f"Look-ahead: from {first[0].window.right_s:g} to {first[-1].window.right_s:g} s, at "
        f"{last[0].window.left_s:g} s of left context, it falls from {last[0].overall:.3f} to {last[-1].overall:.3f}, "
        f"and every frame waits {1000 * (last[-1].latency_s - last[0].latency_s):.0f} ms longer.",
    ]
    for name, cost in costs.items():
        if name != baseline:
            told.append(
                f"{name}: {cost.overall:.2f} from offline, {cost.latency_s:.2f} s behind; {baseline} is "
                f"{slow.overall:.2f} from it and costs {slow.of_real_time / cost.of_real_time:.1f} times as much."
            )
    return told
