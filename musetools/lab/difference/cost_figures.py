"""Figures of what differences cost: causes sorted, distances of silence, and what becomes of each frame of a pair."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from musetools.lab.difference.causes import Causes
from musetools.lab.difference.outcome import KINDS, Outcome
from musetools.lab.difference.silence import SITUATIONS, Silence
from musetools.lab.look import COLOURS, figure

__all__ = ["cause_figure", "outcome_figure", "silence_figure"]

VERDICTS = {  # marker and colour
    "yes": ("o", COLOURS["green"]),
    "single values are not": ("D", COLOURS["orange"]),
    "no": ("s", COLOURS["black"]),
}
KIND_COLOURS = dict(zip(KINDS, (COLOURS["sky"], COLOURS["yellow"], COLOURS["black"], COLOURS["purple"]), strict=True))
LEAST = 1e-5  # content standard deviations: what is less is drawn here


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
        n_safe = sum(cause.safe for cause in found)
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


def outcome_figure(outcomes: list[Outcome]) -> Figure:
    """Draw what becomes of each frame of one or more pairs of recipes, a strip each.

    Parameters
    ----------
    outcomes : list of Outcome
        Pairs on a clip or over a minute.

    Returns
    -------
    Figure
    """
    with figure(figsize=(11, 1.5 + 0.55 * len(outcomes))) as (fig, axes):
        ax = axes[0, 0]
        for y, outcome in enumerate(outcomes):
            edges = np.arange(len(outcome.kinds) + 1) / float(outcome.fps)
            for kind, colour in KIND_COLOURS.items():
                here = np.flatnonzero(outcome.kinds == kind)
                starts = here[np.diff(here, prepend=-2) > 1]
                stops = here[np.diff(here, append=1e9) > 1] + 1
                spans = [(edges[a], edges[b] - edges[a]) for a, b in zip(starts, stops, strict=True)]
                # an edge of a few frames is thinner than a line: its outline keeps it visible
                ax.broken_barh(spans, (y - 0.32, 0.64), facecolor=colour, edgecolor=colour, linewidth=1)
            counts = "; ".join(f"{count} {kind}" for kind, count in outcome.counts().items() if count)
            ax.text(edges[-1] + 0.5, y, counts, va="center", fontsize=9)
        labels = ["\n".join(outcome.compared.names) + f", {outcome.where}" for outcome in outcomes]
        ax.set_yticks(range(len(outcomes)), labels)
        ax.set(xlabel="time of the frame in s", ylim=(len(outcomes) - 0.5, -0.5))
        longest = max(len(outcome.kinds) / float(outcome.fps) for outcome in outcomes)
        ax.set_xlim(-0.01 * longest, 1.9 * longest)  # counts stand at the right
        ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick <= longest])
        same, total = sum(o.counts()[KINDS[0]] for o in outcomes[:2]), sum(len(o.kinds) for o in outcomes[:2])
        share = f"{100 * same / total:.1f} %"
        ax.set_title(f"{outcomes[0].pair}: {share} of all frames get the same chunk on both sides")
        handles = [Patch(color=colour, label=kind) for kind, colour in KIND_COLOURS.items()]
        fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return fig
