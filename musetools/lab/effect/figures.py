"""Figures of the effect of preprocessing on a model."""

from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musetools.lab.answer import AnswerBox
from musetools.lab.effect.answer import BAND_MS, Effect
from musetools.lab.effect.measure import INFERENCE
from musetools.lab.effect.outcome import Outcome
from musetools.lab.look import COLOURS, INFER, MARKS, TRAIN, figure
from musetools.table import minus, signed
from musetools.timing import COMMON_FPS

__all__ = ["answer_box", "delay_figure", "prediction_figure", "r2_figure"]

SHOWN_S = 6.0  # stretch of speech drawn, the last one of the interior
STEADY_MS = 150  # outcomes with a larger expected delay are drawn over time
HOLLOW = {"fillstyle": "none", "markersize": 8}
DRIFTING = {"^": INFER, "s": COLOURS["black"], "D": COLOURS["green"], "v": COLOURS["purple"]}  # mark and colour


def answer_box(effect: Effect) -> AnswerBox:
    """Return the answer in its sentences and the figure of R²."""
    return AnswerBox(effect.sentences(), r2_figure(effect), weights=effect.weights)


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
        ends = [worst.truth.min(), worst.truth.max()]
        against.plot(ends, ends, color="0.4", linewidth=1, linestyle=":", label="predicted = true")
        over_time.set(xlabel="time in s", ylabel=f"mouth opening\n({worst.talker.unit})")
        against.set(xlabel="true opening", ylabel="predicted opening")
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
            steady.plot(expected, measured, mark[0], color=colour, label=f"{fps:g} fps", **HOLLOW)
        line = np.array(steady.get_xlim())
        steady.plot(line, line, color="0.6", linewidth=1, zorder=0, label="measured = expected")
        band = f"{BAND_MS} ms either side"
        steady.fill_between(line, line - BAND_MS, line + BAND_MS, color="0.92", linewidth=0, zorder=-1, label=band)
        steady.set(
            xlabel="delay in ms, expected from the index matrix", ylabel="delay in ms, measured (positive: mouth late)"
        )
        off = max(abs(o.delay.ms - o.expected.mean_ms) for o in ran)
        runs = f"In all {len(ran)} runs the delay is {'' if off <= BAND_MS else 'not always '}the expected one"
        steady.set_title(f"{runs}\nwithin {off:.1f} ms · weights: {effect.weights}")
        steady.legend(loc="upper left")
        for outcome, (mark, colour) in zip(large, cycle(DRIFTING.items()), strict=False):
            delay, placed = outcome.delay, outcome.placed
            over_time.plot(outcome.times_s[placed], -outcome.lag_ms[placed], color="0.75", linewidth=3, zorder=0)
            label = f"{outcome.title}, measured"
            over_time.plot(delay.windows_s, delay.windows_ms, mark, color=colour, label=label, **HOLLOW)
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
    grid, pairs = effect.grid, list(effect.published.values())
    names = [*(f"MuseTalk {side} as it is run" for side in effect.published), *INFERENCE]
    lowest = min(outcome.r2 for outcome in (*grid.values(), *effect.published.values()))
    floor = max(lowest - 0.05, -1.0)  # worse than the mean opening is bad enough
    with figure(figsize=(9, 0.42 * len(names) + 1.8)) as (fig, axes):
        ax, spread = axes[0, 0], np.linspace(-0.24, 0.24, len(COMMON_FPS))
        _dots(ax, dict(enumerate(pairs)), floor, "*", color=INFER, markersize=11, label="the published pair, 25 fps")
        for fps, shift, (mark, colour) in zip(COMMON_FPS, spread, MARKS.items(), strict=True):
            places = {len(pairs) + number + shift: (name, fps) for number, name in enumerate(INFERENCE)}
            ran = {place: grid[key] for place, key in places.items() if key in grid}
            _dots(ax, ran, floor, mark[0], color=colour, markersize=6, label=f"{fps:g} fps")
        for outcome, style, label in (
            (effect.matching, "-", "training's chunks"),
            (effect.control, ":", "shuffled openings"),
        ):
            ax.axvline(outcome.r2, color=TRAIN, linestyle=style, zorder=0, label=f"{label}: {outcome.r2_text}")
        for number, name in enumerate(INFERENCE):
            if stopped := [f"{fps:g}" for fps in COMMON_FPS if (name, fps) not in grid]:
                text, place = f"stops at {', '.join(stopped)} fps", (0.01, len(pairs) + number)
                ax.annotate(text, place, xycoords=("axes fraction", "data"), va="center")
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xlim(floor - 0.04, None)
        ax.set_xlabel("R² of the predicted opening, held-out speech without its first and last second")
        pair = f"{names[0]}: R² {pairs[0].r2_text}, training's chunks {effect.matching.r2_text}"
        ax.set_title(f"{pair}\nworst: {effect.worst.title}, {effect.worst.r2_text} · weights: {effect.weights}")
        fig.legend(loc="outside lower center", ncols=4)
    return fig


def _dots(ax: Axes, outcomes: dict[float, Outcome], floor: float, mark: str, **style: object) -> None:
    """Draw R² by place; below the floor of the axis, at it, with the number."""
    ax.plot([max(one.r2, floor) for one in outcomes.values()], list(outcomes), mark, **style)
    for place, one in outcomes.items():
        if one.r2 < floor:
            text = minus(f"← {one.r2:.1f}")
            ax.annotate(text, (floor, place), (9, 0), textcoords="offset points", va="center", fontsize=8)
