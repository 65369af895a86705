"""Figures of the effect of preprocessing on a model."""

import numpy as np
from matplotlib.figure import Figure

from musetools.lab.effect.answer import BAND_MS, Effect
from musetools.lab.effect.measure import INFERENCE
from musetools.lab.look import COLOURS, INFER, MARKS, TRAIN, figure
from musetools.recipes.profile import COMMON_FPS
from musetools.table import signed

__all__ = ["delay_figure", "prediction_figure", "r2_figure"]

SHOWN_S = 6.0  # stretch of speech drawn, the last one of the interior
STEADY_MS = 150  # outcomes with a larger expected delay are drawn over time
DRIFTING = {"^": INFER, "s": COLOURS["black"], "D": COLOURS["green"], "v": COLOURS["purple"]}  # mark and colour


def prediction_figure(effect: Effect) -> Figure:
    """Draw true openings and those predicted from training's and the worst recipe's chunks, over time and by frame.

    Parameters
    ----------
    effect : Effect
        What `evaluate` returned.

    Returns
    -------
    Figure
    """
    trained, worst = effect.matching, effect.worst
    stop = float(worst.times_s[worst.interior].max())
    times = np.linspace(stop - SHOWN_S, stop, 1200)
    with figure(1, 2, figsize=(11, 4), width_ratios=(2, 1)) as (fig, axes):
        over_time, against = axes[0]
        over_time.plot(times, worst.talker.at(times), color=COLOURS["black"], linewidth=1, label="true opening")
        for outcome, colour, style, mark in ((trained, TRAIN, "--", "o"), (worst, INFER, "-", "^")):
            near, inside = (outcome.times_s >= times[0]) & (outcome.times_s <= stop), outcome.interior
            label = f"predicted, {outcome.title}"
            over_time.plot(outcome.times_s[near], outcome.prediction[near], style, color=colour, label=label)
            true, predicted = outcome.truth[inside], outcome.prediction[inside]
            against.plot(true, predicted, mark, color=colour, markersize=2.5, alpha=0.35)
        against.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle=":", label="predicted = true")
        over_time.set(xlabel="time in s", ylabel="mouth opening\n(0 shut, 1 wide)")
        against.set(xlabel="true opening (0 … 1)", ylabel="predicted opening (0 … 1)")
        lost = f"{worst.title}: R² {worst.r2_text}, from training's chunks {trained.r2_text}"
        over_time.set_title(f"{lost}\nweights: {effect.weights}")
        against.set_title("Every interior frame")
        fig.legend(handles=[*over_time.get_lines(), against.get_lines()[-1]], loc="outside lower center", ncols=4)
    return fig


def delay_figure(effect: Effect) -> Figure:
    """Draw measured delay against the one expected from the index matrix: in all, and over time where it is large.

    Parameters
    ----------
    effect : Effect
        What `evaluate` returned.

    Returns
    -------
    Figure
    """
    ran = list(effect.grid.values())
    large = [o for o in ran if abs(o.expected.mean_ms) > STEADY_MS]
    large = large or [max(ran, key=lambda o: abs(o.expected.drift_ms_s))]
    with figure(1, 2, figsize=(11, 4.6)) as (fig, axes):
        steady, over_time = axes[0]
        for fps, (mark, colour) in zip(COMMON_FPS, MARKS.items(), strict=False):
            small = [o for (_, rate), o in effect.grid.items() if rate == fps and abs(o.expected.mean_ms) <= STEADY_MS]
            expected, measured = [o.expected.mean_ms for o in small], [o.delay.ms for o in small]
            style = {"color": colour, "fillstyle": "none", "markersize": 8}
            steady.plot(expected, measured, mark[0], label=f"{fps:g} fps", **style)
        line = np.array(steady.get_xlim())
        steady.plot(line, line, color="0.6", linewidth=1, zorder=0, label="measured = expected")
        band = {"color": "0.92", "linewidth": 0, "zorder": -1, "label": f"{BAND_MS} ms either side"}
        steady.fill_between(line, line - BAND_MS, line + BAND_MS, **band)
        steady.set(
            xlabel="delay in ms, expected from the index matrix", ylabel="delay in ms, measured (positive: mouth late)"
        )
        off = max(abs(o.delay.ms - o.expected.mean_ms) for o in ran)
        steady.set_title(
            f"In all {len(ran)} runs the delay is the expected one\nwithin {off:.1f} ms · weights: {effect.weights}"
        )
        steady.legend(loc="upper left")
        for outcome, (mark, colour) in zip(large, DRIFTING.items(), strict=False):
            delay, placed = outcome.delay, outcome.placed
            over_time.plot(outcome.times_s[placed], -outcome.lag_ms[placed], color="0.75", linewidth=3, zorder=0)
            style = {"color": colour, "fillstyle": "none", "markersize": 8}
            over_time.plot(delay.windows_s, delay.windows_ms, mark, label=f"{outcome.title}, measured", **style)
        over_time.plot([], [], color="0.75", linewidth=3, label="expected, frame by frame")
        over_time.set(xlabel="time in s", ylabel="delay in ms (positive: mouth late)")
        over_time.set_title(f"{large[0].title}:\ndrift {signed(large[0].delay.drift_ms_s)} ms in each second")
        over_time.legend(loc="best")
    return fig


def r2_figure(effect: Effect) -> Figure:
    """Draw R² by recipe and frame rate, beside the matching pair's and the control's.

    Parameters
    ----------
    effect : Effect
        What `evaluate` returned.

    Returns
    -------
    Figure
    """
    grid, places = effect.grid, np.arange(len(INFERENCE))
    with figure(figsize=(9, 0.45 * len(places) + 1.8)) as (fig, axes):
        ax, spread = axes[0, 0], np.linspace(-0.24, 0.24, len(COMMON_FPS))
        for fps, shift, (mark, colour) in zip(COMMON_FPS, spread, MARKS.items(), strict=True):
            r2 = [grid[name, fps].r2 if (name, fps) in grid else np.nan for name in INFERENCE]
            ax.plot(r2, places + shift, mark[0], color=colour, label=f"{fps:g} fps")
        for outcome, style, label in (
            (effect.matching, "-", "training's chunks"),
            (effect.control, ":", "shuffled openings"),
        ):
            ax.axvline(outcome.r2, color=TRAIN, linestyle=style, zorder=0, label=f"{label}: {outcome.r2_text}")
        for place, name in enumerate(INFERENCE):
            if stopped := [f"{fps:g}" for fps in COMMON_FPS if (name, fps) not in grid]:
                where = {"xy": (0.01, place), "xycoords": ("axes fraction", "data"), "va": "center"}
                ax.annotate(f"stops at {', '.join(stopped)} fps", **where)
        ax.set_yticks(places, INFERENCE)
        ax.invert_yaxis()
        ax.set_xlabel("R² of the predicted opening, held-out speech without its first and last second")
        ax.set_title(f"R² falls to {effect.worst.r2_text}: {effect.worst.title} · weights: {effect.weights}")
        fig.legend(loc="outside lower center", ncols=6)
    return fig
