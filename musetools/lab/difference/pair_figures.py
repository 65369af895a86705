"""Figures of pairs of recipes at several frame rates, of every recipe over a minute, and of what differences cost."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from musetools.lab.difference.causes import Causes
from musetools.lab.difference.measure import Comparison
from musetools.lab.difference.overview import LagTable
from musetools.lab.difference.silence import SITUATIONS, Silence
from musetools.lab.look import COLOURS, INFER, MARKS, TRAIN, figure
from musetools.recipes.profile import Profile

__all__ = ["cause_figure", "lag_figure", "rate_figure", "silence_figure", "value_figure"]

LATE_MS = 40  # a frame at 25 fps
LAG_TICKS = {-10_000: "−10 s", -1000: "−1 s", -100: "−100", 0: "0", 100: "100", 1000: "1 s", 10_000: "10 s"}
VERDICTS = {  # marker and colour
    "yes": ("o", COLOURS["green"]),
    "single values are not": ("D", COLOURS["orange"]),
    "no": ("s", COLOURS["black"]),
}
LEAST = 1e-5  # content standard deviations: what is less is drawn here


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
            for side, colour, style in ((compared.a, TRAIN, "-"), (compared.b, INFER, "--")):
                times = np.array(side.frames) / compared.fps
                above.plot(times, side.lag_ms, style, color=colour, linewidth=1.2, label=side.recipe.name)
            below.plot(compared.shared / compared.fps, compared.rows_differ(), color=COLOURS["black"])
            count = "one stops" if compared.stops else f"{compared.differing} of {len(compared.shared)} differ"
            above.set_title(f"{compared.fps:.5g} fps:\n{count}")
            below.set_xlabel("time in s")
        axes[0, 0].set_ylabel("lag in ms")
        axes[1, 0].set(ylabel=f"rows that differ,\nof {n_rows}", ylim=(-0.5, n_rows + 0.5))
        fig.legend(handles=axes[0, 0].get_lines(), loc="outside lower center", ncols=2)
    return fig


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
    largest = {name: _largest_ms(profiles) for name, profiles in table.recipes.items()}
    with figure(figsize=(10, 0.62 * len(largest) + 1.9)) as (fig, axes):
        ax = axes[0, 0]
        for i, (fps, (mark, colour)) in enumerate(zip(table.fps, MARKS.items(), strict=False)):
            places = np.arange(len(largest)) + 0.18 * (i - (len(table.fps) - 1) / 2)
            lags = [profiles[i].lag for profiles in table.recipes.values()]
            ax.hlines(places, [lag.min_ms for lag in lags], [lag.max_ms for lag in lags], color=colour, linewidth=2)
            ax.plot([lag.mean_ms for lag in lags], places, mark[0], color=colour, label=f"{float(fps):g} fps, mean")
        ax.axvline(0, color="0.6", zorder=0)
        ax.set_xscale("symlog", linthresh=100)
        ax.set_xticks(list(LAG_TICKS), LAG_TICKS.values())
        ax.set_yticks(range(len(largest)), [f"{name}: {_up_to(lag_ms)}" for name, lag_ms in largest.items()])
        ax.set_ylim(len(largest) - 0.5, -0.5)
        ax.set_xlabel("lag over a minute in ms (linear from −100 to 100), line: its range")
        late = sum(lag_ms >= LATE_MS for lag_ms in largest.values())
        ax.set_title(f"{late} of {len(largest)} recipes put sound {LATE_MS} ms or more away from the mouth", x=0)
        fig.legend(loc="outside lower center", ncols=4)
    return fig


def _largest_ms(profiles: Sequence[Profile]) -> float:
    """Return the largest lag either way; NaN where no frame has one."""
    return float(np.fmax.reduce([abs(lag) for p in profiles for lag in (p.lag.min_ms, p.lag.max_ms)]))


def _up_to(lag_ms: float) -> str:
    if np.isnan(lag_ms):
        return "no lag: every chunk holds zeros"
    return f"up to {lag_ms / 1000:.2g} s" if lag_ms >= 1000 else f"up to {lag_ms:.0f} ms"


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
    values, fps, relative = found.values, found.fps, found.values.relative
    n_frames, n_layers = relative.shape
    first, largest = values.frames[0] if n_frames else 0, relative.max(initial=0) or 1.0
    # from a thousandth of the largest on: edges differ far more than the rest
    scale = LogNorm(max(relative[relative > 0].min(initial=largest), largest / 1000), largest * 1.0001, clip=True)
    with figure(1, 2, figsize=(11, 3.8), width_ratios=(3, 2)) as (fig, axes):
        over_time, by_layer = axes[0]
        image = np.ma.masked_equal(relative.T if n_frames else np.zeros((n_layers, 1)), 0)
        extent = (first / fps, (first + image.shape[1]) / fps, n_layers - 0.5, -0.5)
        shown = over_time.imshow(image, aspect="auto", extent=extent, cmap="cividis", norm=scale)
        fig.colorbar(shown, ax=over_time, label="difference in standard\ndeviations (white: equal)", pad=0.01)
        over_time.set(xlabel="time in s", ylabel="layer", yticks=range(n_layers))
        over_time.set_title(
            f"{len(values.equal)} of {n_frames} chunks equal at {fps:.5g} fps · weights: {values.weights}"
        )
        measured = [c for c in comparisons if c.values is not None]
        for compared, (mark, colour) in zip(measured, MARKS.items(), strict=False):
            inside, label = compared.values.by_layer(compared.interior()), f"{compared.fps:.5g} fps"
            by_layer.plot(inside, mark, color=colour, fillstyle="none", label=label)
        by_layer.set(xlabel="layer", ylabel="difference in standard deviations", xticks=range(n_layers))
        by_layer.set_ylim(bottom=0)
        by_layer.set_title("Inside the clip, by layer")
        by_layer.legend()
    return fig


def cause_figure(causes: Causes) -> Figure:
    """Draw what each difference costs, the most costly first: the layer that suffers most, and the range of the others.

    Parameters
    ----------
    causes : Causes
        What `measure_causes` returned.

    Returns
    -------
    Figure
    """
    found = causes.found
    beside = np.concatenate([content.neighbours for content in causes.content.values()])
    with figure(figsize=(10, 1.6 + 0.33 * len(found))) as (fig, axes):
        ax = axes[0, 0]
        ax.axvspan(beside.min(), beside.max(), color="0.9", label="neighbouring rows, 20 ms apart")
        for verdict, (marker, colour) in VERDICTS.items():
            places = [y for y, cause in enumerate(found) if cause.verdict == verdict]
            costs = [max(found[y].cost, LEAST) for y in places]
            ax.plot(costs, places, marker, color=colour, label=f"safe: {verdict}")
            least = [max(found[y].gap.rms.min(), LEAST) for y in places]
            ax.hlines(places, least, costs, color=colour, linewidth=1.5)
        ax.set_yticks(range(len(found)), [f"{cause.name} ({cause.spec})" for cause in found])
        ax.invert_yaxis()
        ax.set(xscale="log", xlabel="rms over the content's standard deviation")
        n_safe = sum(cause.verdict == "yes" for cause in found)
        title = f"{n_safe} of {len(found)} differences are safe; the most costly one costs {found[0].cost:.2g} std"
        fig.suptitle(f"{title} · weights: {causes.weights}", x=0.01, ha="left", fontsize=11, fontweight="bold")
        ax.set_title("Line: all layers; mark: the layer that suffers most", fontweight="normal", fontsize=10)
        fig.legend(loc="outside lower center", ncols=4)
    return fig


def silence_figure(silence: Silence) -> Figure:
    """Draw how far rows of silence are from those of padding, of speech and of each other, a panel for each spec.

    Parameters
    ----------
    silence : Silence
        What `measure_silence` returned.

    Returns
    -------
    Figure
    """
    highest = max(matrix.max() for matrix in silence.distances.values())
    with figure(1, len(silence.distances), sharey=True, figsize=(11, 4.8)) as (fig, axes):
        for ax, (spec, matrix) in zip(axes[0], silence.distances.items(), strict=True):
            shown = ax.imshow(matrix, cmap="cividis", vmin=0, vmax=highest)
            for (y, x), value in np.ndenumerate(matrix):
                colour = "white" if value < 0.6 * highest else "black"
                ax.text(x, y, f"{value:.2g}" if value else "–", ha="center", va="center", color=colour, fontsize=9)
            ax.set_xticks(range(len(SITUATIONS)), SITUATIONS, rotation=35, ha="right")
            ax.set_yticks(range(len(SITUATIONS)), SITUATIONS)
            ax.set(xlabel="rows of", ylabel="rows of" if ax is axes[0, 0] else "")
            quiet = matrix[0, 1:-1]
            ax.set_title(
                f"{spec}: silence is {quiet.min():.2g} to {quiet.max():.2g}\nfrom padding, speech {matrix[0, -1]:.2g}"
            )
            ax.spines[:].set_visible(False)
            ax.tick_params(length=0)
        label = "distance of rows: rms over the content's\nstandard deviation, mean of the layers"
        fig.colorbar(shown, ax=axes, label=f"{label}\nweights: {silence.weights}")
    return fig
