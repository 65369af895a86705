"""The figure of a suite run, and the box that gives its answer."""

from math import inf

from matplotlib.figure import Figure

from musetools.lab.answer import AnswerBox
from musetools.lab.look import COLOURS, figure
from musetools.lab.regression.outcome import CaseReport, SuiteReport

__all__ = ["answer_box", "share_figure"]

MOST = 200  # percent: what is beyond is drawn here


def answer_box(report: SuiteReport) -> AnswerBox:
    """Return how many cases passed, what comes nearest to its tolerance, and the figure of all cases."""
    faults = [f"{case.name}: {case.message}." for case in report.cases if not case.ok]
    return AnswerBox([f"{report.summary}.", *(faults or [_nearest(report)])], share_figure(report))


def _nearest(report: SuiteReport) -> str:
    case = max(report.cases, key=_percent)
    if _percent(case):
        part = f"{_percent(case):.3g} % of what is allowed"
        return f"Nearest to its tolerance is {case.worst.quantity} of {case.name}: {part}."
    compared = any(case.deviations for case in report.cases)
    return "Every number is equal to its baseline." if compared else "No number was compared with a baseline."


def _percent(case: CaseReport) -> float:
    return 100 * case.worst.share


def _label(case: CaseReport) -> str:
    if not case.deviations or case.worst.share == inf:
        return case.status
    return f"{_percent(case):.3g} %" if case.worst.share else "all equal"


def share_figure(report: SuiteReport) -> Figure:
    """Draw how much of its tolerance the worst quantity of each case takes.

    Parameters
    ----------
    report : SuiteReport
        What `run_suite` returned.

    Returns
    -------
    Figure
    """
    cases = report.cases
    with figure(figsize=(9, 0.34 * len(cases) + 1.4)) as (fig, axes):
        ax, colours = axes[0, 0], [COLOURS["green" if case.ok else "vermilion"] for case in cases]
        bars = ax.barh([case.name for case in cases], [min(_percent(case), MOST) for case in cases], color=colours)
        ax.bar_label(bars, list(map(_label, cases)), padding=4, fontsize=9)
        ax.axvline(100, color=COLOURS["black"], linestyle="--", label="tolerance")
        ax.set(xlim=(0, MOST + 30), xlabel="error of the worst quantity in % of its tolerance")
        ax.invert_yaxis()
        ax.set_title(f"{sum(case.ok for case in cases)} of {len(cases)} cases passed")
        fig.legend(loc="outside lower center")
    return fig
