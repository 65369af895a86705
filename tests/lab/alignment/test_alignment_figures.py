"""Figures of alignment have titles, units and legends, and draw the numbers they are given."""

from dataclasses import replace

import numpy as np
import pytest
from figure_checks import check, written
from matplotlib.figure import Figure

from musetools import RECIPES
from musetools.lab.alignment import MeasuredLag, Mouth, click_figure, mouth_figure, plosive_figure, sampler_figure
from musetools.lips import MouthModel, MouthSeries
from musetools.lips.estimate import LipSync, match
from musetools.recipes.sampler import audit_sampler

RATE = 16_000
MOUTH_UNITS = {"opening, in\ndeviations", "time in s", "correlation of seen\nand expected", "sound late by, in ms"}
ONE_UNITS = {"mean lag over the clicks in ms"}
CLICK_UNITS = {"mean lag over the clicks in ms (linear between −100 and +100)"}


def lag_of(mean_ms: float, error_ms: float) -> MeasuredLag:
    """Make up a measurement of three clicks."""
    expected = np.array([mean_ms - 5, mean_ms, mean_ms + 5])
    return MeasuredLag(np.array([30, 50, 70]), expected + np.array([0, error_ms, 0]), expected)


def clicks(names: list[str]) -> dict[str, MeasuredLag]:
    return {name: lag_of(100 * i, 2.5 + i / 10) for i, name in enumerate(names)}


LATE_MS = 80


def mouth(places: np.ndarray | None = None) -> Mouth:
    """Make up a mouth that shuts once a second, and the one expected from sound that is late."""

    def opening(times_s: np.ndarray) -> np.ndarray:
        return np.abs(np.sin(np.pi * np.outer(times_s, [1.0, 1.3, 1.7, 2.1])))

    times, expected = np.arange(200) / 25, opening(np.arange(400) / 50 - LATE_MS / 1000)
    seen = MouthSeries(times, opening(times), places=places)
    return Mouth(seen, expected, match(seen, expected, MouthModel.load().about["gumbel"]))


LOADER = ["1 of 4 get the right audio", "audio of another half minute (K5)", "wrong mel for the sync loss (K6)"]
SEEN = [
    "ms late (",
    "confidence over 99.9 %",
    "mouth seen",
    "expected from the encoder's rows",
    "interval of the offset",
]
CLICKS = [f"within {2.4 + len(RECIPES) / 10:.1f} ms", "read off the index matrix"]


def sampler(*lengths: int) -> Figure:
    return sampler_figure([audit_sampler(n_frames) for n_frames in lengths])


FIGURES = {  # name: figure, units, texts
    "clicks of one": (lambda: click_figure(clicks(["musetools"]), 29.97), ONE_UNITS, ["within 2.5 ms"]),
    "clicks of all": (lambda: click_figure(clicks(list(RECIPES)), 29.97), CLICK_UNITS, CLICKS),
    "a mouth, audio late": (lambda: mouth_figure(mouth()), MOUTH_UNITS, SEEN),
    "a mouth, no estimate": (
        lambda: mouth_figure(replace(mouth(), sync=LipSync(why="wrong sound"))),
        MOUTH_UNITS,
        ["Cannot tell: wrong sound"],
    ),
    "the loader": (lambda: sampler(600, 750, 800, 1000), {"starts in %"}, LOADER),
    "the loader without a start": (lambda: sampler(0), {"starts in %"}, ["1 of 1 get"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure(name):
    draw, units, texts = FIGURES[name]
    check(draw(), units, texts)


def points(figure: Figure, label: str) -> np.ndarray:
    """Return the points that were drawn under a label, (n, 2)."""
    (line,) = (line for ax in figure.axes for line in ax.lines if line.get_label() == label)
    return line.get_xydata()


def test_clicks_beside_the_matrix():
    measured = clicks(list(RECIPES))
    figure = click_figure(measured, 29.97)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == list(RECIPES)
    means = [[lag.mean_ms, i] for i, lag in enumerate(measured.values())]
    np.testing.assert_allclose(points(figure, "measured with clicks"), means)


def test_seen_and_expected_lie_on_each_other_once_moved():
    figure = mouth_figure(mouth())
    seen, moved = (
        points(figure, label) for label in ("mouth seen", "expected from the encoder's rows, moved by the offset")
    )
    there = np.interp(seen[50:600, 0], *moved.T)
    assert np.corrcoef(there, seen[50:600, 1])[0, 1] > 0.95
    curve = points(figure, "correlation")
    assert curve[curve[:, 1].argmax(), 0] == pytest.approx(LATE_MS, abs=5)


def test_a_plosive_is_the_shut_lips_before_the_loudest_rise(monkeypatch):
    """Lips shut at 1, 2 … s; sound begins at 3 s, moved by the offset."""
    waveform = np.zeros(8 * RATE, np.float32)
    waveform[int(RATE * (3 + LATE_MS / 1000)) :] = np.random.default_rng(0).normal(0, 0.1, 8 * RATE)[: int(RATE * 4.92)]
    seen = mouth(places=np.tile([50, 50, 40], (200, 1)))
    assert seen.plosive(waveform) == 75
    assert mouth().plosive(waveform) is None
    assert plosive_figure(seen, waveform[: RATE // 10], "clip.mp4") is None
    drawn = "musetools.lab.alignment.figures.mouth_images"
    monkeypatch.setattr(drawn, lambda clip, series, frames: [np.zeros((8, 8, 3), np.uint8)] * len(frames))
    figure = plosive_figure(seen, waveform, "clip.mp4")
    check(
        figure, {"sample", "time in s"}, ["Lips shut at 3.00 s; by the offset sound", " ms late", "sound in the file"]
    )
    assert len(figure.axes[0].images) == 9


def test_lips_that_others_are_shut_beside_are_no_plosive():
    """At 3 s, where sound rises most, they are narrow; shut they are at 5 s."""
    values = np.ones((200, 1))
    values[70:81], values[120:131] = 0.2, 0
    waveform = np.zeros(8 * RATE, np.float32)
    waveform[3 * RATE : 4 * RATE], waveform[5 * RATE :] = 0.5, 0.1
    seen = mouth(places=np.tile([50, 50, 40], (200, 1)))
    seen = replace(seen, seen=replace(seen.seen, values=values))
    assert 120 <= seen.plosive(waveform) <= 130


def test_without_an_offset_nothing_is_called_moved():
    unknown = replace(mouth(), sync=replace(mouth().sync, offset_ms=None, interval_ms=None))
    assert not [text for text in written(mouth_figure(unknown)) if "moved" in text]


def test_starts_with_wrong_data():
    ax = FIGURES["the loader"][0]().axes[0]
    assert [text.get_text() for text in ax.texts] == ["0.0", "0.0", "4.5", "23.9", "0.0", "4.8", "10.8", "28.9"]
    assert ax.get_xticklabels()[1].get_text() == "750 frames\n30 s at 25 fps"
