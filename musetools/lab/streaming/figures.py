"""Live streams in a table and figures."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from musetools import ChunkStream, EncoderWindow
from musetools.check.findings import SILENT_DBFS
from musetools.lab.answer import AnswerBox
from musetools.lab.look import COLOURS, INFER, MARKS, figure
from musetools.lab.streaming.answer import Streaming
from musetools.lab.streaming.measure import REFERENCE, WindowCost, segment_levels
from musetools.lab.streaming.trade import Trade
from musetools.timing import ROW_RATE, SAMPLE_RATE

__all__ = ["answer_box", "grid_figure", "layer_figure", "memory_figure", "segment_figure"]
__all__ += ["timeline_figure", "trade_figure"]

DISTANCE = "distance from offline\n(1: that of neighbouring rows)"


def answer_box(answer: Streaming) -> AnswerBox:
    """Return the answer in its sentences and the figure of distance over computing."""
    return AnswerBox(answer.sentences(), trade_figure(answer.costs, answer.trade), weights=answer.trade.weights)


def trade_figure(costs: dict[str, WindowCost], trade: Trade) -> Figure:
    """Draw the distance from offline of every window over its computing: the ways to stream among a grid of windows.

    The last of the ways is what the others are compared with; the grid is drawn as a line for each look-ahead.
    """
    with figure(figsize=(10, 4.6)) as (fig, [[ax]]):
        rights = sorted({cost.window.right_s for cost in trade.grid})
        for right_s, shade in zip(rights, np.linspace(0.8, 0.35, len(rights)), strict=True):
            line = sorted((c for c in trade.grid if c.window.right_s == right_s), key=lambda c: c.window.left_s)
            label = f"{right_s:g} s ahead, {line[0].latency_s:.2f} s behind"
            ax.plot(*np.transpose([*map(_place, line)]), "-", color=f"{shade:.2f}", marker=".", label=label)
        for cost in line:
            text, below = f"{cost.window.left_s:g} s back", {"xytext": (0, -12), "textcoords": "offset points"}
            ax.annotate(text, _place(cost), fontsize=8, ha="center", **below)
        for (name, cost), style in zip(costs.items(), _styles(len(costs)), strict=True):
            label = f"{name}, {cost.latency_s:.2f} s behind"
            ax.plot(*_place(cost), linestyle="none", markersize=9, label=label, **style)
        ax.set(xscale="log", yscale="log", ylabel=DISTANCE, xlabel="computing in % of real time, one thread")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(NullLocator())
        (name, last), (first_name, first) = list(costs.items())[-1], min(costs.items(), key=lambda i: i[1].overall)
        ax.set_title(
            f"{name} lies {last.overall / first.overall:.1f} times as far from offline as {first_name}"
            f" · weights: {trade.weights}"
        )
        fig.legend(loc="outside right center", fontsize=8)
    return fig


def _place(cost: WindowCost) -> tuple[float, float]:
    return 100 * cost.of_real_time, cost.of_a_row


def _styles(n: int) -> list[dict[str, str]]:
    """Return mark and colour of each of up to seven ways; the last one is vermilion."""
    colours = [COLOURS[name] for name in ("green", "sky", "yellow", "purple", "orange", "black")]
    shown = zip("osD^vP*", [*colours[: n - 1], INFER], strict=False)
    return [{"marker": mark, "color": colour, "markeredgecolor": "black"} for mark, colour in shown]


def grid_figure(trade: Trade) -> Figure:
    """Draw distance and computing of every left context and look-ahead, latency with each look-ahead.

    Colours span what was measured. If several hops were measured, the last one is drawn.
    """
    last = [cost for cost in trade.grid if cost.window.hop_s == trade.grid[-1].window.hop_s]
    costs = sorted(last, key=lambda cost: (cost.window.left_s, cost.window.right_s))
    n_rights = len({cost.window.right_s for cost in costs})
    far = np.reshape([cost.of_a_row for cost in costs], (-1, n_rights))
    busy = np.reshape([100 * cost.of_real_time for cost in costs], (-1, n_rights))
    back, ahead = (far[0] - far[-1]).mean(), (far[:, 0] - far[:, -1]).mean()
    title = f"Distance falls by {back:.2f} with left context, by {ahead:.2f} with look-ahead"
    with figure(1, 2, figsize=(11, 0.5 * len(far) + 2.2)) as (fig, axes):
        _draw_cells(axes[0, 0], costs, far, ".2f", DISTANCE, f"{title}\nweights: {trade.weights}")
        label = "computing in % of real time,\none thread"
        _draw_cells(axes[0, 1], costs, busy, ".1f", label, f"Computing takes up to {busy.max():.0f} % of real time")
        axes[0, 0].set_ylabel("left context")
    return fig


def _draw_cells(ax: Axes, costs: list[WindowCost], values: np.ndarray, form: str, label: str, title: str) -> None:
    shown, (n_lefts, n_rights) = ax.imshow(values, cmap="cividis", aspect="auto"), values.shape
    middle = (values.min() + values.max()) / 2
    for (y, x), value in np.ndenumerate(values):
        ax.text(x, y, f"{value:{form}}", ha="center", va="center", color="white" if value < middle else "black")
    ax.figure.colorbar(shown, ax=ax, label=label, pad=0.02)
    ahead = [f"{cost.window.right_s:g} s ahead\n{cost.latency_s:.2f} s behind" for cost in costs[:n_rights]]
    ax.set_xticks(range(n_rights), ahead)
    ax.set_yticks(range(n_lefts), [f"{cost.window.left_s:g} s" for cost in costs[::n_rights]])
    ax.tick_params(length=0)
    ax.set_title(title)
    ax.spines[:].set_visible(False)


def layer_figure(costs: dict[str, WindowCost], *, weights: str) -> Figure:
    """Draw the distance from offline features layer by layer, and that of neighbouring rows."""
    with figure(figsize=(11, 4.2)) as (fig, axes):
        ax, layers = axes[0, 0], range(len(next(iter(costs.values())).by_layer))
        for (name, cost), style in zip(costs.items(), _styles(len(costs)), strict=True):
            label = f"{name}: {cost.latency_s:.2f} s behind, {100 * cost.of_real_time:.0f} % of a core"
            ax.plot(layers, cost.by_layer, label=label, **style)
        ax.plot(layers, cost.neighbours, "k--", label="neighbouring offline rows, from each other")
        top = max(costs, key=lambda name: costs[name].by_layer.max())
        worst = int(costs[top].by_layer.argmax())
        ax.set(
            xlabel="layer", xticks=layers, ylabel="distance from offline in standard\ndeviations of a layer's content"
        )
        ax.set_yscale("symlog", linthresh=0.5)
        ax.set_ylim(0, None)
        ax.set_yticks([tick for tick in (0, 0.25, 0.5, 1, 2, 4, 8, 16) if tick <= ax.get_ylim()[1]])
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set_title(
            f"Farthest: layer {worst} of {top}, {costs[top].by_layer[worst]:.2f}\n"
            f"(axis linear up to 0.5) · weights: {weights}"
        )
        fig.legend(loc="outside right center", fontsize=8)
    return fig


def memory_figure(readings: np.ndarray) -> Figure:
    """Draw the memory of the process as hours of audio pass."""
    hours, mib = readings.T
    moves = np.ptp(mib[len(mib) // 10 :])
    with figure(figsize=(9, 2.8)) as (fig, [[ax]]):
        ax.plot(hours, mib, color=INFER, label="this process, stream and encoder")
        ax.set(xlabel="hours of audio pushed", ylabel="resident memory in MiB")
        ax.set(xlim=(0, None), ylim=(0, 1.25 * mib.max()))
        ax.set_title(f"After a tenth of {hours[-1]:.2g} h the memory moves within {moves:.1f} MiB")
        ax.legend(loc="lower right")
    return fig


def segment_figure(gaps: dict[str, np.ndarray], windows: dict[str, EncoderWindow], *, weights: str) -> Figure:
    """Draw each row's distance from one with as much audio before as after it, over time, all layers together.

    `gaps` are what `row_distance` returned for up to four kinds of segments, `windows` what these were made with.
    """
    n_rows = min(map(len, gaps.values()))
    inside = np.arange(REFERENCE.left, n_rows - REFERENCE.right)  # elsewhere the reference lacks audio
    with figure(figsize=(9, 3.8)) as (fig, [[ax]]):
        for (name, rows), (mark, colour) in zip(gaps.items(), MARKS.items(), strict=False):
            level = np.sqrt(np.square(rows[inside]).mean(axis=1))
            ax.plot(inside / ROW_RATE, level, mark[1:], color=colour, linewidth=1, label=name)
            hop = windows[name].hop
            for row in range(hop, n_rows, hop):
                label = f"its segment boundaries, every {hop / ROW_RATE:g} s" if row == hop else None
                ax.axvline(row / ROW_RATE, linestyle=":", color=colour, label=label)
        either = f"distance from rows with {REFERENCE.left_s:g} s\neither side, in std. dev. of content"
        ax.set(xlabel="time in s", ylabel=either, ylim=(0, None))
        ax.set_xlim(REFERENCE.left / ROW_RATE, (n_rows - REFERENCE.right) / ROW_RATE)
        levels = ", ".join(f"{name} {level:.2f}" for name, level in segment_levels(gaps, windows).items())
        ax.set_title(f"Farthest row beside a segment boundary: {levels}\nweights: {weights}")
        fig.legend(loc="outside lower center", ncols=2)
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
        level.plot(came.start_s, came.loudness, color=COLOURS["green"], label="loudness of the frame")
        silent = f"{SILENT_DBFS:g} dBFS: hold the mouth still below"
        level.axhline(SILENT_DBFS, color="0.6", linestyle=":", label=silent)
        level.set(xlabel="time in the audio in s", ylabel="loudness\nin dBFS")
        fig.legend(loc="outside lower center", ncols=3)  # what is drawn leaves no corner free for sure
    return fig
