"""Figures of pairs of recipes at several frame rates, and of every recipe over a minute."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from musetools.lab.difference.measure import Comparison
from musetools.lab.difference.overview import LagTable
from musetools.lab.look import COLOURS, INFER, MARKS, TRAIN, figure
from musetools.recipes.profile import Profile
from musetools.timing import exact_fps

__all__ = ["lag_figure", "rate_figure", "value_figure"]

LATE_MS = 40  # a frame at 25 fps


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
    n_rows = comparisons[0].a.rows.shape[1]
    with figure(2, len(comparisons), sharex=True, sharey="row", figsize=(11, 4.4)) as (fig, axes):
        for (above, below), compared in zip(axes.T, comparisons, strict=True):
            fps, stops = float(exact_fps(compared.a.fps)), compared.a.stops or compared.b.stops
            _draw_lag(above, compared.a, TRAIN, "-", compared.names[0])
            _draw_lag(above, compared.b, INFER, "--", compared.names[1])
            below.plot(compared.shared / fps, compared.rows_differ(), color=COLOURS["black"])
            count = "one stops" if stops else f"{compared.differing} of {len(compared.shared)} differ"
            above.set_title(f"{float(compared.a.fps):g} fps: {count}")
            below.set_xlabel("time in s")
        axes[0, 0].set_ylabel("lag in ms")
        axes[1, 0].set(ylabel=f"rows that differ,\nof {n_rows}", ylim=(-0.5, n_rows + 0.5))
        fig.legend(handles=axes[0, 0].get_lines(), loc="outside lower center", ncols=2)
    return fig


def _draw_lag(ax: Axes, side: Profile, colour: str, style: str, label: str) -> None:
    times = np.array(side.frames) / float(exact_fps(side.fps))
    ax.plot(times, side.lag_ms, style, color=colour, linewidth=1.2, label=label)


def lag_figure(table: LagTable) -> Figure:
    """Draw the range of every recipe's lag over a minute, a line for each frame rate.

    Parameters
    ----------
    table : LagTable
        Recipes at up to four frame rates.

    Returns
    -------
    Figure
    """
    names = list(table.recipes)
    with figure(figsize=(10, 0.62 * len(names) + 1.9)) as (fig, axes):
        ax = axes[0, 0]
        for i, (fps, (mark, colour)) in enumerate(zip(table.fps, MARKS.items(), strict=False)):
            places = np.arange(len(names)) + 0.18 * (i - (len(table.fps) - 1) / 2)
            lags = [profiles[i].lag for profiles in table.recipes.values()]
            ax.hlines(places, [lag.min_ms for lag in lags], [lag.max_ms for lag in lags], color=colour, linewidth=2)
            ax.plot([lag.mean_ms for lag in lags], places, mark[0], color=colour, label=f"{float(fps):g} fps, mean")
        ax.axvline(0, color="0.6", zorder=0)
        ax.set_xscale("symlog", linthresh=100)
        ax.set_xticks(
            [-10_000, -1000, -100, 0, 100, 1000, 10_000], ["−10 s", "−1 s", "−100", "0", "100", "1 s", "10 s"]
        )
        ax.set_yticks(range(len(names)), [f"{name}: {_most(profiles)}" for name, profiles in table.recipes.items()])
        ax.set(
            xlabel="lag over a minute in ms (linear from −100 to 100), line: its range", ylim=(len(names) - 0.5, -0.5)
        )
        late = [n for n, profiles in table.recipes.items() if _largest(profiles) >= LATE_MS]
        ax.set_title(f"{len(late)} of {len(names)} recipes put sound {LATE_MS} ms or more away from the mouth", x=0)
        fig.legend(loc="outside lower center", ncols=4)
    return fig


def _largest(profiles: Sequence[Profile]) -> float:
    lags = [abs(lag) for p in profiles if len(p.interior) for lag in (p.lag.min_ms, p.lag.max_ms)]
    return max(lags, default=0.0)


def _most(profiles: Sequence[Profile]) -> str:
    if not any(len(p.interior) for p in profiles):
        return "no lag: every chunk holds zeros"
    lag_ms = _largest(profiles)
    return f"up to {lag_ms / 1000:.2g} s" if lag_ms >= 1000 else f"up to {lag_ms:.0f} ms"


def _log_scale(image: np.ma.MaskedArray) -> LogNorm:
    """Scale colours to what differs: from a thousandth of the largest on, since edges differ far more than the rest."""
    largest = float(image.max()) if image.count() else 1.0
    return LogNorm(max(float(image.min()) if image.count() else 0.1, largest / 1000), largest * 1.0001, clip=True)


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
    values, fps = found.values, float(exact_fps(found.a.fps))
    n_frames, n_layers = values.relative.shape
    first = values.frames[0] if n_frames else 0
    with figure(1, 2, figsize=(11, 3.8), width_ratios=(3, 2)) as (fig, axes):
        over_time, by_layer = axes[0]
        image = np.ma.masked_equal(values.relative.T if n_frames else np.zeros((n_layers, 1)), 0)
        extent = (first / fps, (first + image.shape[1]) / fps, n_layers - 0.5, -0.5)
        shown = over_time.imshow(image, aspect="auto", extent=extent, cmap="cividis", norm=_log_scale(image))
        fig.colorbar(shown, ax=over_time, label="difference in standard\ndeviations (white: equal)", pad=0.01)
        over_time.set(xlabel="time in s", ylabel="layer", yticks=range(n_layers))
        over_time.set_title(
            f"{len(values.equal)} of {n_frames} chunks equal at {fps:.5g} fps · weights: {values.weights}"
        )
        measured = [c for c in comparisons if c.values is not None]
        for compared, (mark, colour) in zip(measured, MARKS.items(), strict=False):
            inside, label = compared.values.by_layer(compared.interior()), f"{float(compared.a.fps):g} fps"
            by_layer.plot(inside, mark, color=colour, fillstyle="none", label=label)
        by_layer.set(xlabel="layer", ylabel="difference in standard deviations", xticks=range(n_layers))
        by_layer.set_ylim(bottom=0)
        by_layer.set_title("Inside the clip, by layer")
        by_layer.legend()
    return fig
