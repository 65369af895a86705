"""The effect of preprocessing on a model in figures."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musetools.lab.effect.outcome import Outcome
from musetools.lab.effect.report import BAND_MS, Grid, r2_text, running, titled, worst
from musetools.lab.look import COLOURS, INFER, MARKS, TRAIN, figure
from musetools.table import signed

__all__ = ["delay_figure", "prediction_figure", "r2_figure"]

SHOWN_S = 6.0  # stretch of speech drawn, the last one of the interior
STEADY_MS = 150  # runs with a larger delay are drawn over time
DRIFTING = [COLOURS[name] for name in ("black", "green", "purple")]


def prediction_figure(trained: Outcome, inferred: Outcome, *, weights: str) -> Figure:
    """Draw predicted against true openings: over the interior's last seconds, and frame by frame.

    Parameters
    ----------
    trained : Outcome
        From training's chunks.
    inferred : Outcome
        From a recipe's.
    weights : str
        Name of the encoder.

    Returns
    -------
    Figure
    """
    with figure(1, 2, figsize=(11, 4), width_ratios=(2, 1)) as (fig, axes):
        over_time, against = axes[0]
        stop = float(inferred.times_s[inferred.interior].max())
        times = np.linspace(stop - SHOWN_S, stop, 1200)
        over_time.plot(times, inferred.talker.at(times), color=COLOURS["black"], linewidth=1, label="true opening")
        for outcome, colour, style in ((trained, TRAIN, "--"), (inferred, INFER, "-")):
            near = (outcome.times_s >= times[0]) & (outcome.times_s <= stop)
            label = f"predicted, {titled(outcome)}"
            over_time.plot(outcome.times_s[near], outcome.prediction[near], style, color=colour, label=label)
            _draw_against(against, outcome, colour, "o" if outcome is trained else "^")
        over_time.set(xlabel="time in s", ylabel="mouth opening\n(0 shut, 1 wide)")
        against.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle=":", label="predicted = true")
        against.set(xlabel="true opening (0 … 1)", ylabel="predicted opening (0 … 1)")
        lost = f"{titled(inferred)}: R² {r2_text(inferred.r2)}, from training's chunks {r2_text(trained.r2)}"
        over_time.set_title(f"{lost}\nweights: {weights}")
        against.set_title("Every interior frame")
        fig.legend(handles=[*over_time.get_lines(), against.get_lines()[-1]], loc="outside lower center", ncols=4)
    return fig


def _draw_against(ax: Axes, outcome: Outcome, colour: str, mark: str) -> None:
    inside = outcome.interior
    ax.plot(outcome.truth[inside], outcome.prediction[inside], mark, color=colour, markersize=2.5, alpha=0.35)


def delay_figure(grid: Grid, rates: Sequence[float], *, weights: str) -> Figure:
    """Draw measured delay against the one expected from the index matrix: in all, and over time where it drifts most.

    Parameters
    ----------
    grid, rates, weights
        As in `musetools.lab.effect.report.outcome_table`.

    Returns
    -------
    Figure
    """
    ran = running(grid)
    with figure(1, 2, figsize=(11, 4.6)) as (fig, axes):
        steady, over_time = axes[0]
        _draw_delays(steady, grid, rates)
        beyond = [o for o in ran if abs(o.expected_ms) > STEADY_MS]
        beyond = beyond or [max(ran, key=lambda o: abs(o.expected_drift_ms_s))]
        for outcome, mark, colour in zip(beyond, "^sDv", (INFER, *DRIFTING), strict=False):
            placed = outcome.placed
            over_time.plot(outcome.times_s[placed], -outcome.lag_ms[placed], color="0.75", linewidth=3, zorder=0)
            over_time.plot(
                outcome.delay.windows_s,
                outcome.delay.windows_ms,
                mark,
                color=colour,
                fillstyle="none",
                markersize=8,
                label=f"{titled(outcome)}, measured",
            )
        over_time.plot([], [], color="0.75", linewidth=3, label="expected, frame by frame")
        over_time.set(xlabel="time in s", ylabel="delay in ms (positive: mouth late)")
        over_time.set_title(f"{titled(beyond[0])}:\ndrift {signed(beyond[0].delay.drift_ms_s)} ms in each second")
        over_time.legend(loc="best")
        off = max(abs(o.delay.ms - o.expected_ms) for o in ran)
        steady.set_title(
            f"In all {len(ran)} runs the delay is the expected one\nwithin {off:.1f} ms · weights: {weights}"
        )
        steady.legend(loc="upper left")
    return fig


def _draw_delays(ax: Axes, grid: Grid, rates: Sequence[float]) -> None:
    """Draw the runs whose delay stays small; the others are drawn over time."""
    for i, (fps, (mark, colour)) in enumerate(zip(rates, MARKS.items(), strict=False)):
        there = [line[i] for line in grid.values() if line[i] is not None]
        there = [outcome for outcome in there if abs(outcome.expected_ms) <= STEADY_MS]
        expected, measured = [o.expected_ms for o in there], [o.delay.ms for o in there]
        ax.plot(expected, measured, mark[0], color=colour, fillstyle="none", markersize=8, label=f"{fps:g} fps")
    line = np.array(ax.get_xlim())
    ax.plot(line, line, color="0.6", linewidth=1, zorder=0, label="measured = expected")
    band = f"{BAND_MS} ms either side"
    ax.fill_between(line, line - BAND_MS, line + BAND_MS, color="0.92", linewidth=0, zorder=-1, label=band)
    ax.set(xlabel="delay in ms, expected from the index matrix", ylabel="delay in ms, measured (positive: mouth late)")


def r2_figure(grid: Grid, rates: Sequence[float], matching: Outcome, control: Outcome, *, weights: str) -> Figure:
    """Draw R² by recipe and frame rate, beside the matching pair's and the control's.

    Parameters
    ----------
    grid, rates, weights
        As in `musetools.lab.effect.report.outcome_table`.
    matching, control : Outcome
        Training and inference alike; and a model of shuffled openings.

    Returns
    -------
    Figure
    """
    with figure(figsize=(9, 0.45 * len(grid) + 1.8)) as (fig, axes):
        ax, spread = axes[0, 0], np.linspace(-0.24, 0.24, len(rates))
        for i, (fps, (mark, colour)) in enumerate(zip(rates, MARKS.items(), strict=False)):
            runs = [(line[i].r2, place + spread[i]) for place, line in enumerate(grid.values()) if line[i] is not None]
            ax.plot(*zip(*runs, strict=True), mark[0], color=colour, label=f"{fps:g} fps")
        for outcome, style, label in ((matching, "-", "training's chunks"), (control, ":", "shuffled openings")):
            ax.axvline(outcome.r2, color=TRAIN, linestyle=style, zorder=0, label=f"{label}: {r2_text(outcome.r2)}")
        for place, line in enumerate(grid.values()):
            stopped = [f"{fps:g}" for fps, outcome in zip(rates, line, strict=True) if outcome is None]
            if stopped:
                ax.annotate(
                    f"stops at {', '.join(stopped)} fps", (0.01, place), xycoords=("axes fraction", "data"), va="center"
                )
        ax.set_yticks(range(len(grid)), list(grid))
        ax.invert_yaxis()
        ax.set_xlabel("R² of the predicted opening, held-out speech without its first and last second")
        low = worst(grid)
        ax.set_title(f"R² falls to {r2_text(low.r2)}: {titled(low)} · weights: {weights}")
        fig.legend(loc="outside lower center", ncols=6)
    return fig
