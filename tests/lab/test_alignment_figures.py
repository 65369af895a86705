"""Figures of alignment have titles, units and legends; the conclusions hold the numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_figures import check

from musetools import RECIPES, audit_clip
from musetools.check.clip import ClipAudit
from musetools.check.folder import FolderAudit
from musetools.lab.alignment.figures import click_figure, mouth_figure, sampler_figure
from musetools.lab.alignment.lag import MeasuredLag
from musetools.lab.alignment.measure import NAMED, conclusions
from musetools.lab.alignment.offset import OffsetEstimate
from musetools.recipes.sampler import audit_sampler

RATE = 16_000
LATE = OffsetEstimate(40.3, 0.07, 0.99, 9.9)
NONE = OffsetEstimate(None, None, 0.21, 1.4)


def lag_of(mean_ms: float, error_ms: float = 1.0) -> MeasuredLag:
    """Make up a measurement of three clicks."""
    expected = np.array([mean_ms - 5, mean_ms, mean_ms + 5])
    return MeasuredLag(np.array([30, 50, 70]), expected + np.array([0, error_ms, 0]), expected)


def points(figure: Figure, label: str) -> np.ndarray:
    """Give the points that were drawn under a label, (n, 2)."""
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == label)
    return line.get_xydata()


# --- clicks


@pytest.mark.parametrize("recipes", [["musetools"], list(RECIPES)], ids=len)
def test_clicks_beside_the_matrix(recipes):
    measured = {name: lag_of(100 * i, 2.5 + i / 10) for i, name in enumerate(recipes)}
    figure = click_figure(measured, 29.97)
    said = check(figure, units={"mean lag over the clicks in ms (linear between −100 and +100)"})
    assert f"within {2.4 + len(recipes) / 10:.1f} ms" in said
    assert "read off the index matrix" in said
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == recipes
    means = [[lag.mean_ms, i] for i, lag in enumerate(measured.values())]
    np.testing.assert_allclose(points(figure, "measured with clicks"), means)


# --- mouth and loudness


@pytest.mark.parametrize(
    ("offset", "title"),
    [
        (LATE, "Sound 40.3 ms late, drift +0.07 ms/s"),
        (NONE, "No offset can be estimated: correlation 0.21, 1.4 standard deviations above chance"),
    ],
    ids=["told", "none"],
)
def test_mouth_and_loudness(offset, title):
    mouth, sound = np.linspace(0, 1, 75), np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    sound[RATE : 2 * RATE] = 0
    figure = mouth_figure(mouth, sound, 25, offset)
    said = check(figure, units={"mouth opening\n(0 shut, 1 wide)", "loudness in dBFS", "time in s"})
    assert title in said.splitlines()
    assert said.endswith("mouth opening\nloudness")
    np.testing.assert_allclose(points(figure, "mouth opening")[25], [1, 25 / 74])
    loud = figure.axes[1].lines[0].get_ydata()
    assert loud[0] == pytest.approx(-20, abs=1)
    assert loud[30] == -70  # silence is not drawn down to -120


def test_mouth_and_sound_of_different_lengths():
    check(mouth_figure(np.zeros(90), np.ones(2 * RATE, np.float32), 30, NONE), units={"time in s"})


# --- the loader


def test_starts_that_are_served_wrongly():
    figure = sampler_figure([audit_sampler(n) for n in (600, 750, 800, 1000)])
    said = check(figure, units={"starts in %"})
    assert "Of these lengths, 1 of 4 get the right audio" in said
    assert "audio of another half minute (K5)" in said
    assert "wrong mel for the sync loss (K6)" in said
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ["0.0", "0.0", "4.5", "23.9", "0.0", "4.8", "10.8", "28.9"]
    assert figure.axes[0].get_xticklabels()[1].get_text() == "750 frames\n30 s at 25 fps"


def test_a_single_clip_without_a_start():
    assert "1 of 1 get the right audio" in check(sampler_figure([audit_sampler(0)]), units={"starts in %"})


# --- the conclusions


def clip(n_frames: int) -> ClipAudit:
    """Audit four seconds of hiss that belong to so many frames."""
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, 4 * RATE).astype(np.float32)
    return audit_clip((sound, RATE), n_frames=n_frames, fps=25)


def test_conclusions_on_a_good_folder():
    said = conclusions(
        FolderAudit((clip(100), clip(101))), {"musetools": lag_of(0, 2.2), "latentsync": lag_of(9, 1)}, LATE
    )
    assert said == [
        "0 of 2 clips must not go into training with musetools as they are.",
        "Clicks confirm the lag expected from the index matrix, within 2.2 ms for every recipe.",
        f"Mouth against sound: {LATE}.",
    ]


def test_conclusions_names_what_is_wrong():
    bad = clip(150)
    said = conclusions(FolderAudit((bad, clip(102), clip(100))), {"musetools": lag_of(0)}, None)
    assert said[0] == "1 of 3 clips must not go into training with musetools as they are."
    assert said[1].startswith("the array: For 2.00 s the video goes on without sound (+100 rows")
    assert [line for line in said if line.startswith("the array: ")] == said[1:-1]
    assert len(said) == 2 + sum(f.level != "note" for audit in (bad, clip(102)) for f in audit.findings)
    assert "Clicks" in said[-1]


def test_conclusions_names_a_few_of_many():
    said = conclusions(FolderAudit((clip(150),) * (NAMED + 3)), {"musetools": lag_of(0)}, NONE)
    assert "3 more clips have findings: see the table." in said
    assert sum("goes on without sound" in line for line in said) == NAMED
    assert said[-1] == f"Mouth against sound: {NONE}."


def test_conclusions_on_a_file(tmp_path):
    audit = audit_clip(tmp_path / "deep" / "gone.mp4")
    said = conclusions(FolderAudit((audit,)), {"musetools": lag_of(0)}, None)
    assert said[1].startswith("gone.mp4: ")
    assert "is not there" in said[1]
