"""What the work costs, in figures: shares of limits, ways from file to features, cost and memory against length."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from musetools.lab.look import COLOURS, MARKS, OWN, figure
from musetools.lab.performance.answer import OURS, Performance
from musetools.lab.performance.measure import Bound

__all__ = ["error_figure", "length_figure", "memory_figure", "share_figure", "start_figure", "whole_figure"]

THEIRS, LIMIT = COLOURS["orange"], COLOURS["black"]


def whole_figure(answer: Performance) -> Figure:
    """Draw what each way from a file to features costs, as a multiple of ours in float32, with its spread."""
    names, base = list(answer.whole.seconds), OURS + "float32"
    ratios = np.array([answer.whole.ratio(name, base) for name in names])
    with figure(figsize=(9, 1.4 + 0.45 * len(names))) as (fig, [[ax]]):
        for kind, colour in (("musetools", OWN), ("published", THEIRS)):
            those = [i for i, name in enumerate(names) if name.startswith(OURS) == (kind == "musetools")]
            middle, low, high = ratios[those].T
            bars = ax.barh(those, middle, xerr=(middle - low, high - middle), color=colour, label=kind, capsize=4)
            ax.bar_label(bars, fmt="{:.2f} times", padding=4)
        xlabel = "times as long as musetools in float32 (median; line: least and most of the rounds)"
        ax.set(xlabel=xlabel, xmargin=0.1)
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        slowest, times = names[int(ratios[:, 0].argmax())], ratios[:, 0].max()
        ax.set_title(f"{answer.minutes:g} min from file to features: {slowest} takes {times:.1f} times as long")
        fig.legend(loc="outside lower center", ncols=2)
    return fig


def share_figure(bounds: list[Bound], title: str) -> Figure:
    """Draw which share of its limit each part reaches; `title` says of what, and is followed by the least."""
    worst = min(bounds, key=lambda bound: bound.share)
    with figure(figsize=(9, 1.5 + 0.45 * len(bounds))) as (fig, [[ax]]):
        names, shares = [b.name for b in bounds], np.array([100 * b.share for b in bounds])
        spread = shares - [100 * b.low for b in bounds], [100 * b.high for b in bounds] - shares
        ax.barh(names, shares, xerr=spread, color=OWN, capsize=4, label="reached; line: worst and best round")
        ends = [max(103, 100 * b.high + 3) for b in bounds]  # beside the line of the limit
        for number, bound in enumerate(bounds):
            ax.text(ends[number], number, bound.text, va="center")
        limits = ", ".join(dict.fromkeys(b.limit for b in bounds))
        ax.axvline(100, color=LIMIT, linestyle="--", label=f"limit: {limits}")
        ax.set(xlabel="share of the limit in %", xlim=(0, max(ends) + 60))
        ax.set_title(f"{title}: least, {100 * worst.share:.0f} %, by {worst.name}")
        ax.invert_yaxis()
        fig.legend(loc="outside lower center")
    return fig


def length_figure(answer: Performance) -> Figure:
    """Draw cost against length, the line that fits it, and what its products of matrices alone would take."""
    with figure() as (fig, [[ax]]):
        for (name, raced), (mark, colour) in zip(answer.lengths.items(), MARKS.items(), strict=False):
            lengths = sorted(map(float, raced.seconds))
            ax.plot(lengths, [raced.best(f"{length:g}") for length in lengths], mark, color=colour, label=name)
        longest = max(map(float, answer.lengths["padded to 30 s"].seconds))
        line = np.geomspace(10, longest, 200)
        fitted = answer.fit.a_second * np.ceil(line / 30) * 30 + answer.fit.once
        ax.plot(line, fitted, color=COLOURS["sky"], label="line through it from 10 s on, in whole windows")
        ax.plot(line, answer.limit_s * line, ":", color=LIMIT, label="products of matrices alone, float32")
        ax.set(xscale="log", yscale="log", xlabel="length of the audio in s", ylabel="computing in s, one thread")
        ax.set_title(f"A second of audio costs {1000 * answer.fit.a_second:.1f} ms from 30 s on · {answer.weights}")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        ax.legend(fontsize=8)
    return fig


def memory_figure(answer: Performance) -> Figure:
    """Draw the peak memory of extraction to a file against the length of the audio."""
    minutes, mib = list(answer.memory), list(answer.memory.values())
    with figure(figsize=(9, 3)) as (fig, [[ax]]):
        ax.plot(minutes, mib, "o-", color=OWN, label="peak resident memory, Python and torch included")
        ax.axhline(400, color=LIMIT, linestyle="--", label="aim")
        ax.set_xticks(minutes, [f"{each:g}" for each in minutes])
        ax.set(xlabel="length of the audio in min", ylabel="MiB", ylim=(0, 1.15 * max(*mib, 400)))
        ax.set_title(f"{minutes[-1] / minutes[0]:g} times the audio takes {mib[-1] / mib[0]:.2f} times the memory")
        ax.legend(loc="lower right")
    return fig


def error_figure(answer: Performance) -> Figure:
    """Draw how far features of other types, and of windows that are not padded, lie from float32's, by layer."""
    largest = max(answer.errors["bfloat16"])
    with figure() as (fig, [[ax]]):
        for (name, errors), (mark, colour) in zip(answer.errors.items(), MARKS.items(), strict=False):
            ax.plot(errors, mark, color=colour, label=name)
        ax.set(yscale="log", xlabel="layer", ylabel="rms difference in standard\ndeviations of the layer")
        ax.set_xticks(range(len(answer.errors["bfloat16"])))
        ax.set_title(f"bfloat16 moves features by {largest:.2g} standard deviations at most · {answer.weights}")
        fig.legend(loc="outside right center")
    return fig


def start_figure(answer: Performance) -> Figure:
    """Draw what starting takes."""
    with figure(figsize=(9, 2.6)) as (fig, [[ax]]):
        label = "time of the processor until it is done"
        bars = ax.barh([*answer.starts], [*answer.starts.values()], color=OWN, label=label)
        ax.bar_label(bars, fmt="{:.2f} s", padding=4)
        ax.set(xlabel="s", xmargin=0.1)
        ax.set_title(f"The command answers after {answer.starts['musetools --help']:.2f} s")
        ax.invert_yaxis()
        fig.legend(loc="outside lower center")
    return fig
