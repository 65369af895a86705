"""Figures of recipes' chunks: whatever they are given, they have titles, units, legends and the right numbers."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from figure_checks import check
from oracles import speech

from musetools import RECIPES, audio2feat
from musetools.lab.difference import (
    compare,
    compare_at,
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
PAIRS = [
    ("musetalk-v1.5-train", "musetalk-v1.5-infer"),
    ("musetools", "musetalk-v1.5-infer"),  # stops at 50 fps
    ("musetalk-v1.5-infer", "musetools"),
    ("livetalking", "livetalking-0-5"),  # both stop at 29.97
    ("musetalkplus-train", "musetools"),  # has no lag at all
]
LAG_UNITS, VALUE_UNITS = {"time in s", "lag in ms"}, {"time in s", "layer", "difference in standard deviations"}
FRAME_UNITS = {"time in s", "mel bin", "amplitude\n(full scale 1)"}


@pytest.fixture(scope="module")
def made(small) -> SimpleNamespace:
    """Two seconds of speech and its features."""
    waveform = speech(50_000)[-2 * RATE :]
    return SimpleNamespace(encoder=small, waveform=waveform, features=audio2feat((waveform, RATE), small))


def chunks(made, n_samples: int, *names: str) -> dict:
    return {name: RECIPES[name].chunks(made.features, n_samples, 25) for name in names}


def compared(made, pair: tuple[str, str], seconds: float, rates: tuple = (25,)) -> list:
    return compare_at(*pair, (made.waveform[: int(seconds * RATE)], RATE), rates=rates, encoder=made.encoder)


def values(made, pair: tuple[str, str], seconds: float):
    many = compared(made, pair, seconds, (24, 25, 50))
    return value_figure(many[1], many)


def fps_texts(rates: tuple) -> list[str]:
    return [f"{float(fps):g} fps" for fps in rates]


V1 = ("musetalk-v1-train", "musetools")
FIGURES = {  # name: figure of what was made, units, texts
    **{
        f"rates {'-'.join(pair)} {rates}": (
            lambda made, pair=pair, rates=rates: rate_figure(compare_at(*pair, rates=rates)),
            LAG_UNITS | {"rows that differ,\nof 10"},
            [*pair, *fps_texts(rates)],
        )
        for pair in PAIRS
        for rates in ((24, 25, 29.97, 50), (50, 25), (29.97,), (NTSC, 25))
    },
    **{
        f"lags {len(recipes)} {rates}": (
            lambda made, recipes=recipes, rates=rates: lag_figure(lag_table(rates, recipes)),
            LAG_UNITS,
            [*recipes, *fps_texts(rates)],
        )
        for recipes in (RECIPES, ["musetools"], ["musetalkplus-train", "musetools", "musetalk-v1.5-infer"])
        for rates in ((24, 25, 29.97, 30), (50,), (NTSC,))
    },
    # one second leaves LiveTalking a single batch; training drops all frames of 0.16 s
    **{
        f"values {'-'.join(pair)} {seconds}": (
            lambda made, pair=pair, seconds=seconds: values(made, pair, seconds),
            VALUE_UNITS,
            ["weights: small", "at 25 fps"],
        )
        for pair, seconds in [
            *((pair, s) for pair in PAIRS for s in (1, 2)),
            (("musetalk-v1-train", "musetools"), 0.16),
        ]
    },
    "values at a fraction": (
        lambda made: value_figure(*(lambda found: (found[0], found))(compared(made, PAIRS[1], 2, (NTSC,)))),
        VALUE_UNITS,
        ["at 29.97 fps"],
    ),
    **{
        f"frame {frame} {names}": (
            lambda made, frame=frame, names=names: frame_figure(made.waveform, chunks(made, 2 * RATE, *names), frame),
            FRAME_UNITS,
            [f"Frame {frame}", *names, *(["musetalk-v1-train no chunk"] if frame < 2 and names == V1 else [])],
        )
        for frame in (0, 1, 20, 48, 49)
        for names in (V1, ("musetools",), ("musetalkplus-train",))
    },
    "a wide margin": (
        lambda made: frame_figure(made.waveform[:RATE], chunks(made, RATE, *V1), 26, margin_s=2),
        FRAME_UNITS,
        ["Frame 26"],
    ),
    # at 0.16 s training has no frame at all; at 0.08 s there are fewer frames than are asked for
    **{
        f"edges {n_samples} {n_frames}": (
            lambda made, n_samples=n_samples, n_frames=n_frames: edge_figure(
                chunks(made, n_samples, *V1), n_frames=n_frames
            ),
            {"position in the chunk"},
            ["musetalk-v1-train: first frames", "musetools: last frames", "row of zeros"],
        )
        for n_samples in (2 * RATE, RATE, 2560, 1280)
        for n_frames in (5, 1)
    },
    **{
        f"features {n_rows} {n_layers}": (
            lambda made, n_rows=n_rows, n_layers=n_layers: feature_figure(
                made.features[:n_rows, :n_layers], weights="small", title="Two seconds"
            ),
            {"time in s (50 rows a second)", "layer 0"},
            ["Two seconds · weights: small"],
        )
        for n_rows in (100, 1)
        for n_layers in (2, 1)
    },
    "inputs": (
        lambda made: input_figure(dict.fromkeys(V1, made.features[:10].reshape(20, -1)), frame=3, weights="small"),
        {"dimension", "row of the chunk (row, then layer)"},
        V1,
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure(name, made):
    draw, units, texts = FIGURES[name]
    check(draw(made), units, texts, legend=not name.startswith(("features", "inputs")))


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_where_one_stops_is_written(pair):
    rates = (24, 25, 29.97, 50)
    titles = [ax.get_title("left") for ax in rate_figure(compare_at(*pair, rates=rates)).axes[:4]]
    for fps, title in zip(rates, titles, strict=True):
        assert ("stops" in title) == (compare(*pair, fps=fps).category == STOPS)


def test_equal_values_are_counted(made):
    (found,) = compared(made, PAIRS[0], 2)
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


def test_features_on_disk(made, tmp_path):
    mapped = audio2feat((made.waveform, RATE), made.encoder, out=tmp_path / "features.npy")
    assert isinstance(mapped, np.memmap)
    check(feature_figure(mapped, weights="small", title="Mapped"), {"layer 1"}, legend=False)
