"""Figures of alignment: clicks found again, mouth against loudness, the loader's wrong starts."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from musetools.lab.alignment.lag import MeasuredLag
from musetools.lab.alignment.measure import Alignment, Mouth
from musetools.lab.answer import AnswerBox
from musetools.lab.look import COLOURS, figure
from musetools.lips import mouth_images
from musetools.lips.estimate import in_words
from musetools.lips.expected import GRID_RATE
from musetools.recipes.sampler import SamplerAudit
from musetools.timing import SAMPLE_RATE

__all__ = ["answer_box", "click_figure", "mouth_figure", "plosive_figure", "sampler_figure"]

SHOWN_S, AROUND = 10.0, 4  # of the mouth, and frames before and after a plosive
NEAR_MS = 100  # lags beyond are drawn on a logarithmic scale
BASIS = {"rows": "the encoder's rows", "loudness": "loudness"}


def answer_box(answer: Alignment) -> AnswerBox:
    """Return the answer in three sentences, and a person's mouth; without one, what clicks say of every recipe."""
    said, mouth = answer.sentences(), answer.mouth
    person = mouth is not None and mouth.sync.method == "rows"
    drawn = mouth_figure(mouth) if person else click_figure(answer.clicks, float(answer.clip.fps))
    return AnswerBox([*said[:2], said[-1]], drawn)


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
        if far := max(map(abs, (*expected, *found))) > NEAR_MS:
            ax.set_xscale("symlog", linthresh=NEAR_MS)
        ax.axvline(0, color="0.85", zorder=0)
        ax.set_yticks(places, list(measured))
        ax.invert_yaxis()
        scale = f" (linear between −{NEAR_MS} and +{NEAR_MS})" if far else ""
        ax.set_xlabel(f"mean lag over the clicks in ms{scale}")
        worst = max(lag.error_ms for lag in measured.values())
        ax.set_title(f"At {fps:.5g} fps measured lag is within {worst:.1f} ms of the expected lag")
        fig.legend(loc="outside lower center", ncols=2)
    return fig


def mouth_figure(mouth: Mouth) -> Figure:
    """Draw the mouth seen and the one expected, with sound moved by the offset, and their correlation over shifts.

    Parameters
    ----------
    mouth : Mouth
        See `look_at_mouth`.

    Returns
    -------
    Figure
    """
    sync, (seen, expected) = mouth.sync, mouth.curves()
    with figure(2, 1, figsize=(9, 5)) as (fig, axes):
        above, below = axes[:, 0]
        above.plot(np.arange(len(seen)) / GRID_RATE, seen, color=COLOURS["green"], label="mouth seen")
        moved = np.arange(len(expected)) / GRID_RATE - (sync.offset_ms or 0) / 1000
        label = f"expected from {BASIS[sync.method]}" + ", moved by the offset" * (sync.offset_ms is not None)
        above.plot(moved, expected, color=COLOURS["black"], lw=1, ls="--", label=label)
        above.set(xlabel="time in s", ylabel="opening, in\ndeviations", xlim=(0, min(len(seen) / GRID_RATE, SHOWN_S)))
        said, _, match = str(sync).rpartition(" (")
        above.set_title(f"{said[0].upper()}{said[1:]}\n({match}")
        if sync.curve is not None:
            shifts = np.linspace(-1000 * sync.reach_s, 1000 * sync.reach_s, len(sync.curve))
            below.plot(shifts, sync.curve, color=COLOURS["purple"], label="correlation")
        if sync.interval_ms:
            below.axvspan(*sync.interval_ms, color=COLOURS["orange"], alpha=0.5, lw=0, label="interval of the offset")
        below.axvline(0, color="0.7", zorder=0)
        below.set(xlabel="sound late by, in ms", ylabel="correlation of seen\nand expected")
        fig.legend(loc="outside lower center", ncols=4)
    return fig


def plosive_figure(mouth: Mouth, waveform: np.ndarray, clip: str | os.PathLike) -> Figure | None:
    """Draw pictures of the mouth around a plosive at their times above the sound as it is in the file.

    Parameters
    ----------
    mouth : Mouth
        See `look_at_mouth`.
    waveform : ndarray of float32, shape (n_samples,)
        Mono, 16 kHz.
    clip : path
        The video.

    Returns
    -------
    Figure or None
        None where the series was not measured in the video, or has no plosive.
    """
    if (shut := mouth.plosive(waveform)) is None:
        return None
    times, seen = mouth.seen.times_s, mouth.seen.seen
    frames = [i for i in range(shut - AROUND, shut + AROUND + 1) if 0 <= i < len(times) and seen[i]]
    images, half = mouth_images(clip, mouth.seen, frames), float(np.median(np.diff(times))) / 2
    start, end = times[frames[0]] - half, times[frames[-1]] + half
    with figure(2, 1, sharex=True, figsize=(9, 3.6)) as (fig, axes):
        above, below = axes[:, 0]
        for frame, image in zip(frames, images, strict=True):
            above.imshow(image, extent=(times[frame] - half, times[frame] + half, 0, 1), aspect="auto")
            below.axvline(times[frame], color="0.8", lw=0.8, zorder=0)
        above.set(xlim=(start, end), yticks=[])
        offset_ms = mouth.sync.offset_ms
        late = "the offset is not known" if offset_ms is None else f"by the offset {in_words(offset_ms)}"
        above.set_title(f"Lips shut at {times[shut]:.2f} s; {late}")
        places = np.arange(max(0, round(start * SAMPLE_RATE)), min(len(waveform), round(end * SAMPLE_RATE)))
        below.plot(places / SAMPLE_RATE, waveform[places], color=COLOURS["black"], lw=0.5, label="sound in the file")
        below.axvline(times[shut] + (offset_ms or 0) / 1000, color=COLOURS["purple"], label="its place in the sound")
        below.set(xlabel="time in s", ylabel="sample")
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
    audio, mel = ([100 * s.wrong_audio_share for s in samplers], [100 * s.wrong_mel_share for s in samplers])
    with figure(figsize=(9, 3)) as (fig, axes):
        ax = axes[0, 0]
        for bars in (
            ax.bar(places - 0.2, audio, 0.4, color=COLOURS["purple"], label="audio of another half minute (K5)"),
            ax.bar(places + 0.2, mel, 0.4, color=COLOURS["sky"], label="wrong mel for the sync loss (K6)"),
        ):
            ax.bar_label(bars, fmt="%.1f", padding=2)
        ax.set_xticks(places, [f"{s.n_frames} frames\n{s.n_frames / 25:.0f} s at 25 fps" for s in samplers])
        ax.set_ylabel("starts in %")
        ax.margins(y=0.2)
        safe = [s.n_frames for s in samplers if not s.wrong_mel]
        ax.set_title(f"Of these lengths, {len(safe)} of {len(samplers)} get the right audio and mel at every start")
        ax.legend(loc="upper left")
    return fig
