"""Figures of recipes' chunks: whatever they are given, they have titles, units, legends and the right numbers."""

from fractions import Fraction
from itertools import combinations
from types import SimpleNamespace

import pytest
from figure_checks import check
from matplotlib.text import Text
from oracles import speech

from musetools import RECIPES, audio2feat
from musetools.lab.difference import (
    compare,
    edge_figure,
    feature_figure,
    frame_figure,
    input_figure,
    lag_figure,
    lag_table,
    rate_figure,
    value_figure,
)
from musetools.lab.difference.measure import STOPS

RATE = 16_000
NTSC = Fraction(30_000, 1001)
V1, V15 = ("musetalk-v1-train", "musetools"), ("musetalk-v1.5-train", "musetalk-v1.5-infer")
STOPS_AT_50 = ("musetools", "musetalk-v1.5-infer")
BOTH_STOP = ("livetalking", "livetalking-0-5")  # at 29.97 fps
NO_LAG = ("musetalkplus-train", "musetools")


@pytest.fixture(scope="module")
def made(small) -> SimpleNamespace:
    """Two seconds of speech and its features."""
    waveform = speech(50_000)[-2 * RATE :]
    return SimpleNamespace(encoder=small, waveform=waveform, features=audio2feat((waveform, RATE), small))


def chunks(made, n_samples: int, *names: str) -> dict:
    return {name: RECIPES[name].chunks(made.features, n_samples, 25) for name in names}


def compared(made, pair: tuple[str, str], seconds: float, rates: tuple = (25,)) -> list:
    source = made.waveform[: int(seconds * RATE)], RATE
    return [compare(*pair, source, fps=fps, encoder=made.encoder) for fps in rates]


def at_rates(pair: tuple[str, str], rates: tuple) -> list:
    return [compare(*pair, fps=fps) for fps in rates]


def fps_texts(rates: tuple) -> list[str]:
    return [f"{float(fps):g} fps" for fps in rates]


# --- each yields figures with their units and texts


def rate_figures(made):
    cases = ((V15, (24, 25, 29.97, 50)), (STOPS_AT_50[::-1], (50, 25)), (BOTH_STOP, (29.97,)), (NO_LAG, (NTSC, 25)))
    for pair, rates in cases:
        units = {"time in s", "lag in ms", "rows that differ,\nof 10"}
        yield rate_figure(at_rates(pair, rates)), units, [*pair, *fps_texts(rates)]


def lag_figures(made):
    cases = ((RECIPES, (24, 25, 29.97, 30)), ((*NO_LAG, "musetalk-v1.5-infer"), (50,)), (["musetools"], (NTSC,)))
    for recipes, rates in cases:
        units = {"lag over a minute in ms (linear from −100 to 100), line: its range"}
        figure = lag_figure(lag_table(rates, recipes))
        yield figure, units, fps_texts(rates)
        names = [label.get_text().split(":")[0] for label in figure.axes[0].get_yticklabels()]
        assert names == list(recipes)


def value_figures(made):
    """One second leaves LiveTalking a single batch; of 0.16 s training drops all frames."""
    units = {"time in s", "layer", "difference in standard deviations"}
    for pair, seconds in ((STOPS_AT_50, 2), (BOTH_STOP, 1), (NO_LAG, 2), (V1, 0.16)):
        many = compared(made, pair, seconds, (24, 25, 50))
        yield value_figure(many[1], many), units, ["weights: small", "at 25 fps"]
    found = compared(made, STOPS_AT_50, 2, (NTSC,))
    yield value_figure(found[0], found), units, ["at 29.97 fps"]


def frame_figures(made):
    units = {"time in s", "mel bin", "amplitude\n(full scale 1)"}
    for names, frame in ((V1, 0), (V1, 20), (("musetools",), 49), (("musetalkplus-train",), 1)):
        figure = frame_figure(made.waveform, chunks(made, 2 * RATE, *names), frame)
        dropped = ["musetalk-v1-train no chunk"] if names == V1 and frame != 20 else []
        yield figure, units, [f"Frame {frame}", *names, *dropped]
    yield frame_figure(made.waveform[:RATE], chunks(made, RATE, *V1), 26), units, ["Frame 26"]


def edge_figures(made):
    """At 0.16 s training has no frame at all; at 0.08 s there are fewer frames than are shown."""
    for n_samples in (2 * RATE, 2560, 1280):
        figure = edge_figure(chunks(made, n_samples, *V1))
        texts = ["musetalk-v1-train: first frames", "musetools: last frames", "row of zeros"]
        yield figure, {"position in the chunk"}, texts


def images(made):
    """These have colour bars instead of legends."""
    for n_rows, n_layers in ((100, 2), (1, 1)):
        figure = feature_figure(made.features[:n_rows, :n_layers], weights="small", title="Two seconds")
        yield figure, {"time in s (50 rows a second)", "layer 0"}, ["Two seconds · weights: small"]
    given = dict.fromkeys(V1, made.features[:10].reshape(20, -1))
    units = {"dimension", "row of the chunk (row, then layer)"}
    yield input_figure(given, frame=3, weights="small"), units, V1


@pytest.mark.parametrize("figures", [rate_figures, lag_figures, value_figures, frame_figures, edge_figures, images])
def test_figures(figures, made):
    for figure, units, texts in figures(made):
        check(figure, units, texts, legend=figures is not images)


@pytest.mark.parametrize("pair", [STOPS_AT_50, BOTH_STOP], ids="-".join)
def test_where_one_stops_is_written(pair):
    rates = (24, 25, 29.97, 50)
    titles = [ax.get_title("left") for ax in rate_figure(at_rates(pair, rates)).axes[:4]]
    for fps, title in zip(rates, titles, strict=True):
        assert ("stops" in title) == (compare(*pair, fps=fps).category == STOPS)


def test_titles_of_a_minute_lie_apart():
    figure = rate_figure(at_rates(V15, (24, 25, 29.97, 30)))
    figure.draw_without_rendering()
    names = {ax.get_title("left") for ax in figure.axes[:4]}
    boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text() in names]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_equal_values_are_counted(made):
    (found,) = compared(made, V15, 2)
    title = value_figure(found, [found]).axes[0].get_title("left")
    assert title.startswith(f"{len(found.values.equal)} of {len(found.shared)} chunks equal")


def test_what_a_frame_covers(made):
    ours = chunks(made, 2 * RATE, "musetools")
    titles = [frame_figure(made.waveform, ours, frame).axes[0].get_title("left") for frame in (20, 0)]
    assert titles == [
        "Frame 20: musetools covers 200 ms, lag 0 ms",
        "Frame 0: musetools covers 120 ms, at an edge",
    ]


def test_both_ends_of_two_matrices(made):
    sides = chunks(made, 2 * RATE, *V1)
    figure = edge_figure(sides)
    first, last = ([text.get_text() for text in figure.axes[i].texts] for i in (2, 3))
    assert first == [str(row) for row in sides["musetools"].rows[:5].ravel()]
    assert last == [str(row) for row in sides["musetools"].rows[-5:].ravel()]
    framed = [len(ax.patches) for ax in figure.axes]  # the two frames at each end that training drops
    assert framed == [2, 2, 2, 2]
    assert {text.get_text() for text in figure.axes[0].texts[:20]} == {"–"}
