"""Figures of recipes side by side: lag in time, rows that differ, values that differ."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musetools.lab.difference.comparison import Comparison
from musetools.lab.look import COLOURS, INFER, MARKS, TRAIN, figure
from musetools.recipes.profile import LagTable, Profile
from musetools.timing import exact_fps

__all__ = ["lag_figure", "rate_figure", "value_figure"]


def rate_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Draw, for each frame rate, both recipes' lag over time and how many rows of each frame's chunk differ.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Two recipes at several frame rates.

    Returns
    -------
    Figure
    """
    first = comparisons[0]
    with figure(2, len(comparisons), sharex=True, sharey="row", figsize=(11, 4.4)) as (fig, axes):
        for column, compared in enumerate(comparisons):
            above, below = axes[:, column]
            for side, colour, style in ((compared.a, TRAIN, "-"), (compared.b, INFER, "--")):
                _draw_lag(above, side, colour, style)
            below.plot(
                compared.shared / float(exact_fps(compared.a.fps)), compared.rows_differ(), color=COLOURS["black"]
            )
            above.set_title(f"{float(compared.a.fps):g} fps: {_count(compared)}")
            below.set_xlabel("time in s")
        axes[0, 0].set_ylabel("lag in ms")
        axes[1, 0].set_ylabel(f"rows that differ,\nof {first.a.rows.shape[1]}")
        axes[1, 0].set_ylim(-0.5, first.a.rows.shape[1] + 0.5)
        _legend(fig, [(first.names[0], TRAIN, "-"), (first.names[1], INFER, "--")])
    return fig


def _count(compared: Comparison) -> str:
    stops = compared.a.stops or compared.b.stops
    return "one stops" if stops else f"{compared.differing} of {len(compared.shared)} differ"


def _draw_lag(ax: Axes, side: Profile, colour: str, style: str) -> None:
    ax.plot(np.array(side.frames) / float(exact_fps(side.fps)), side.lag_ms, style, color=colour, linewidth=1.2)


def _legend(fig: Figure, entries: Sequence[tuple[str, str, str]]) -> None:
    handles = [fig.axes[0].plot([], [], style, color=colour, label=name)[0] for name, colour, style in entries]
    fig.legend(handles=handles, loc="outside lower center", ncols=min(4, len(entries)))


def lag_figure(table: LagTable) -> Figure:
    """Draw the lag of every recipe over a minute, a panel each, a curve for each frame rate.

    Parameters
    ----------
    table : LagTable
        Recipes at up to four frame rates.

    Returns
    -------
    Figure
    """
    n_panels = -(-len(table.recipes) // 2)
    rates = [
        (f"{float(fps):g} fps", colour, mark[1:]) for fps, (mark, colour) in zip(table.fps, MARKS.items(), strict=False)
    ]
    with figure(n_panels, 2, sharex=True, sharey=True, figsize=(10, 1.35 * n_panels + 1)) as (fig, axes):
        for ax, (name, profiles) in zip(axes.flat, table.recipes.items(), strict=False):
            for side, (_, colour, style) in zip(profiles, rates, strict=True):
                _draw_lag(ax, side, colour, style)
            ax.set_yscale("symlog", linthresh=100)
            ax.set_yticks([-10_000, -100, 0, 100, 10_000], ["−10 s", "−100", "0", "+100", "+10 s"])
            ax.axhline(0, color="0.85", zorder=0)
            ax.set_title(f"{name}: {_reach(profiles)}")
        for ax in axes[:, 0]:
            ax.set_ylabel("lag in ms")
        for ax in axes[-1]:
            ax.set_xlabel("time in s")
        _legend(fig, rates)
    return fig


def _reach(profiles: Sequence[Profile]) -> str:
    """Write how large the lag becomes at any frame rate."""
    lags = [abs(lag) for side in profiles if len(side.interior) for lag in (side.lag.min_ms, side.lag.max_ms)]
    if not lags:
        return "every chunk holds zeros, no lag"
    return f"up to {max(lags) / 1000:.2g} s" if max(lags) >= 1000 else f"up to {max(lags):.0f} ms"


def value_figure(found: Comparison, comparisons: Sequence[Comparison]) -> Figure:
    """Draw how far the values of two recipes' chunks differ: over time at one frame rate, layer by layer at several.

    Parameters
    ----------
    found : Comparison
        Two recipes at one frame rate, with values.
    comparisons : sequence of Comparison
        The same two at up to four; those without values are left out.

    Returns
    -------
    Figure
    """
    seen = [c for c in comparisons if c.values is not None]
    with figure(1, 2, figsize=(11, 3.8), width_ratios=(3, 2)) as (fig, axes):
        _draw_over_time(axes[0, 0], found)
        for compared, (mark, colour) in zip(seen, MARKS.items(), strict=False):
            _draw_by_layer(axes[0, 1], compared, mark, colour)
        axes[0, 1].set(xlabel="layer", ylabel="difference in standard deviations")
        axes[0, 1].set_xticks(range(found.values.relative.shape[1]))
        axes[0, 1].set_ylim(bottom=0)
        axes[0, 1].set_title("Inside the clip, by layer")
        axes[0, 1].legend()
    return fig


def _draw_over_time(ax: Axes, compared: Comparison) -> None:
    values, fps = compared.values, float(exact_fps(compared.a.fps))
    first, stop = (values.frames[0], values.frames[-1] + 1) if len(values.frames) else (0, 1)
    extent = (first / fps, stop / fps, values.relative.shape[1] - 0.5, -0.5)
    image = values.relative.T if len(values.frames) else np.zeros((values.relative.shape[1], 1))
    shown = ax.imshow(image, aspect="auto", extent=extent, cmap="cividis", vmin=0)
    ax.set(xlabel="time in s", ylabel="layer", yticks=range(values.relative.shape[1]))
    ax.set_title(
        f"{len(values.equal)} of {len(values.frames)} chunks equal at {fps:.5g} fps · weights: {values.weights}"
    )
    ax.figure.colorbar(shown, ax=ax, label="difference in\nstandard deviations", pad=0.01)


def _draw_by_layer(ax: Axes, compared: Comparison, mark: str, colour: str) -> None:
    inside, label = compared.values.by_layer(compared.interior()), f"{float(compared.a.fps):g} fps"
    ax.plot(inside, mark, color=colour, fillstyle="none", label=label)
