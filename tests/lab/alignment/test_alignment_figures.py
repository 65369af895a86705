"""Figures of alignment have titles, units and legends, and draw the numbers they are given."""

import numpy as np
import pytest
from figure_checks import check
from matplotlib.figure import Figure

from musetools import RECIPES
from musetools.lab.alignment import MeasuredLag, OffsetEstimate, click_figure, mouth_figure, sampler_figure
from musetools.recipes.sampler import audit_sampler

RATE = 16_000
LATE = OffsetEstimate(40.3, 0.07, 0.99, 9.9)
NONE = OffsetEstimate(None, None, 0.21, 1.4)
MOUTH_UNITS = {"mouth opening\n(0 shut, 1 wide)", "loudness in dBFS", "time in s"}
CLICK_UNITS = {"mean lag over the clicks in ms (linear between −100 and +100)"}


def lag_of(mean_ms: float, error_ms: float) -> MeasuredLag:
    """Make up a measurement of three clicks."""
    expected = np.array([mean_ms - 5, mean_ms, mean_ms + 5])
    return MeasuredLag(np.array([30, 50, 70]), expected + np.array([0, error_ms, 0]), expected)


def clicks(names: list[str]) -> dict[str, MeasuredLag]:
    return {name: lag_of(100 * i, 2.5 + i / 10) for i, name in enumerate(names)}


def sound() -> np.ndarray:
    """Make noise with a silent second."""
    waveform = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    waveform[RATE : 2 * RATE] = 0
    return waveform


MOUTH = np.linspace(0, 1, 75)
FIGURES = {  # name: figure, units, texts
    "clicks of one": (lambda: click_figure(clicks(["musetools"]), 29.97), CLICK_UNITS, ["within 2.5 ms"]),
    "clicks of all": (
        lambda: click_figure(clicks(list(RECIPES)), 29.97),
        CLICK_UNITS,
        [f"within {2.4 + len(RECIPES) / 10:.1f} ms", "read off the index matrix"],
    ),
    "a mouth, audio late": (
        lambda: mouth_figure(MOUTH, sound(), 25, LATE),
        MOUTH_UNITS,
        ["Audio 40.3 ms late, drift +0.07 ms/s", "mouth opening", "loudness"],
    ),
    "a mouth, no estimate": (lambda: mouth_figure(MOUTH, sound(), 25, NONE), MOUTH_UNITS, ["No offset", "0.21"]),
    "mouth and audio of other lengths": (
        lambda: mouth_figure(np.zeros(90), np.ones(2 * RATE, np.float32), 30, NONE),
        MOUTH_UNITS,
        [],
    ),
    "the loader": (
        lambda: sampler_figure([audit_sampler(n) for n in (600, 750, 800, 1000)]),
        {"starts in %"},
        ["1 of 4 get the right audio", "audio of another half minute (K5)", "wrong mel for the sync loss (K6)"],
    ),
    "the loader without a start": (lambda: sampler_figure([audit_sampler(0)]), {"starts in %"}, ["1 of 1 get"]),
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


def test_mouth_and_loudness():
    figure = mouth_figure(MOUTH, sound(), 25, LATE)
    np.testing.assert_allclose(points(figure, "mouth opening")[25], [1, 25 / 74])
    loud = points(figure, "loudness")[:, 1]
    assert loud[0] == pytest.approx(-20, abs=1)
    assert loud[30] == -70  # silence is not drawn down to -120


def test_starts_with_wrong_data():
    ax = FIGURES["the loader"][0]().axes[0]
    assert [text.get_text() for text in ax.texts] == ["0.0", "0.0", "4.5", "23.9", "0.0", "4.8", "10.8", "28.9"]
    assert ax.get_xticklabels()[1].get_text() == "750 frames\n30 s at 25 fps"
