"""Figures of alignment: clicks found again, mouth against loudness, the loader's wrong starts."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from matplotlib.figure import Figure

from musetools.audio.loudness import loudness
from musetools.lab.alignment.lag import MeasuredLag
from musetools.lab.alignment.measure import Alignment
from musetools.lab.alignment.offset import OffsetEstimate
from musetools.lab.answer import AnswerBox
from musetools.lab.look import COLOURS, figure
from musetools.recipes.sampler import SamplerAudit
from musetools.timing import exact_fps

__all__ = ["answer_box", "click_figure", "mouth_figure", "sampler_figure"]


def answer_box(answer: Alignment) -> AnswerBox:
    """Return the answer in three sentences, and what the clicks say of every recipe."""
    said = answer.sentences()
    return AnswerBox(
        [*said[:2], said[-1]] if len(said) > 2 else said, click_figure(answer.clicks, float(answer.clip.fps))
    )


def click_figure(measured: dict[str, MeasuredLag], fps: float) -> Figure:
    """Draw each recipe's measured lag beside the one expected from its index matrix.

    Parameters
    ----------
    measured : dict of str to MeasuredLag
        By recipe.
    fps : float
        Frame rate.

    Returns
    -------
    Figure
    """
    places = np.arange(len(measured))
    with figure(figsize=(9, 0.38 * len(measured) + 1.4)) as (fig, axes):
        ax = axes[0, 0]
        expected = [lag.expected_ms.mean() for lag in measured.values()]
        found = [lag.mean_ms for lag in measured.values()]
        ax.plot(expected, places, "ko", fillstyle="none", markersize=10, label="read off the index matrix")
        ax.plot(found, places, "x", color=COLOURS["purple"], markeredgewidth=2, label="measured with clicks")
        ax.set_xscale("symlog", linthresh=100)
        ax.axvline(0, color="0.85", zorder=0)
        ax.set_yticks(places, list(measured))
        ax.invert_yaxis()
        ax.set_xlabel("mean lag over the clicks in ms (linear between −100 and +100)")
        worst = max(lag.error_ms for lag in measured.values())
        ax.set_title(f"At {fps:.5g} fps measured lag is within {worst:.1f} ms of the expected lag")
        fig.legend(loc="outside lower center", ncols=2)
    return fig


def mouth_figure(mouth: np.ndarray, waveform: np.ndarray, fps: float | Fraction, offset: OffsetEstimate) -> Figure:
    """Draw how far the mouth is open and how loud the audio is, frame by frame.

    Parameters
    ----------
    mouth : ndarray of float, shape (n_frames,)
        Openings.
    waveform : ndarray of float32, shape (n_samples,)
        Mono, 16 kHz.
    fps : float or Fraction
        Video frames per second.
    offset : OffsetEstimate
        What was estimated from the two.

    Returns
    -------
    Figure
    """
    rate, loud = float(exact_fps(fps)), loudness(waveform, fps)
    with figure(2, 1, sharex=True, figsize=(9, 4)) as (fig, axes):
        above, below = axes[:, 0]
        above.plot(np.arange(len(mouth)) / rate, mouth, color=COLOURS["green"], label="mouth opening")
        below.plot(np.arange(len(loud)) / rate, np.maximum(loud, -70), color=COLOURS["black"], label="loudness")
        above.set_ylabel("mouth opening\n(0 shut, 1 wide)")
        below.set_ylabel("loudness in dBFS")
        below.set_xlabel("time in s")
        title = str(offset) if offset.offset_ms is None else str(offset).split(" (")[0]
        above.set_title(title[:1].upper() + title[1:])
        fig.legend(loc="outside lower center", ncols=2)
    return fig


def sampler_figure(samplers: Sequence[SamplerAudit]) -> Figure:
    """Draw the share of starts for which the v1.5 loader returns wrong data, by length of clip.

    Parameters
    ----------
    samplers : sequence of SamplerAudit
        Clips of several lengths.

    Returns
    -------
    Figure
    """
    places = np.arange(len(samplers))
    with figure(figsize=(9, 3)) as (fig, axes):
        ax = axes[0, 0]
        for shift, shares, colour, label in (
            (-0.2, [s.wrong_audio_share for s in samplers], COLOURS["purple"], "audio of another half minute (K5)"),
            (0.2, [s.wrong_mel_share for s in samplers], COLOURS["sky"], "wrong mel for the sync loss (K6)"),
        ):
            bars = ax.bar(places + shift, [100 * share for share in shares], 0.4, color=colour, label=label)
            ax.bar_label(bars, [f"{100 * share:.1f}" for share in shares], padding=2)
        ax.set_xticks(places, [f"{s.n_frames} frames\n{s.n_frames / 25:.0f} s at 25 fps" for s in samplers])
        ax.set_ylabel("starts in %")
        ax.margins(y=0.2)
        safe = [s.n_frames for s in samplers if not s.wrong_mel]
        ax.set_title(f"Of these lengths, {len(safe)} of {len(samplers)} get the right audio and mel at every start")
        ax.legend(loc="upper left")
    return fig
