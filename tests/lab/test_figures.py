"""Figures have titles, legends and units, whatever they are given; results and paths of notebook runs."""

import io
from fractions import Fraction

import numpy as np
import pytest
from matplotlib.figure import Figure
from oracles import speech

from musetools import RECIPES, ParameterError, audio2feat
from musetools.lab import record as results
from musetools.lab.difference.figures import lag_figure, rate_figure, value_figure
from musetools.lab.difference.measure import compare, compare_at
from musetools.lab.look import edge_tables, feature_map, frame_window
from musetools.lab.project import project_file
from musetools.lab.record import RESULT_MIME, record
from musetools.recipes.profile import lag_table

RATE = 16_000


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    return speech(50_000)[-2 * RATE :]


@pytest.fixture(scope="module")
def features(small, waveform) -> np.ndarray:
    return audio2feat((waveform, RATE), small)


def check(figure: Figure, *, units: set[str], legend: bool = True) -> str:
    """Draw a figure for good, as a notebook does, and return all that is written in it."""
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    labels = {label for ax in figure.axes for label in (ax.get_xlabel(), ax.get_ylabel()) if label}
    assert units <= labels, labels
    titles = [ax.get_title(loc) for ax in figure.axes for loc in ("left", "center")]
    assert any(titles)
    keys = [key for key in (*figure.legends, *(ax.get_legend() for ax in figure.axes)) if key]
    assert bool(keys) == legend
    return "\n".join([*labels, *titles, *(text.get_text() for key in keys for text in key.get_texts())])


# --- recipes side by side

PAIRS = [
    ("musetalk-v1.5-train", "musetalk-v1.5-infer"),
    ("musetools", "musetalk-v1.5-infer"),  # stops at 50 fps
    ("musetalk-v1.5-infer", "musetools"),
    ("livetalking", "livetalking-0-5"),  # both stop at 29.97
    ("musetalkplus-train", "musetools"),  # has no lag at all
]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("rates", [(24, 25, 29.97, 50), (50, 25), (29.97,), (Fraction(30_000, 1001), 25)], ids=str)
def test_lag_and_rows_at_several_rates(pair, rates):
    said = check(rate_figure(compare_at(*pair, rates=rates)), units={"time in s", "lag in ms"})
    assert "rows that differ,\nof 10" in said
    assert all(name in said for name in pair)
    assert all(f"{float(fps):g} fps" in said for fps in rates)
    stops = [fps for fps in rates if "stops" in (compare(*pair, fps=fps).category)]
    assert said.count("stops") == len(stops)


@pytest.mark.parametrize("recipes", [None, ["musetools"], ["musetalkplus-train", "musetools", "musetalk-v1.5-infer"]])
@pytest.mark.parametrize("rates", [(24, 25, 29.97, 30), (50,), (Fraction(30_000, 1001),)], ids=str)
def test_lag_of_every_recipe(recipes, rates):
    said = check(lag_figure(lag_table(rates, recipes)), units={"time in s", "lag in ms"})
    assert all(name in said for name in recipes or RECIPES)
    assert all(f"{float(fps):g} fps" in said for fps in rates)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("seconds", [1, 2])
def test_values_over_time_and_by_layer(pair, seconds, small, waveform):
    """One second leaves LiveTalking a single batch; a rate at which a recipe stops is left out."""
    many = compare_at(*pair, (waveform[: seconds * RATE], RATE), rates=(24, 25, 50), encoder=small)
    said = check(value_figure(many[1], many), units={"time in s", "layer", "difference in standard deviations"})
    assert "weights: small" in said
    assert "25 fps" in said
    assert f"{len(many[1].values.equal)} of {len(many[1].shared)} chunks equal" in said


def test_values_at_a_fraction(small, waveform):
    found = compare("musetools", "musetalk-v1-infer", (waveform, RATE), fps=Fraction(30_000, 1001), encoder=small)
    assert "29.97 fps" in check(value_figure(found, [found]), units={"time in s"})


def test_values_without_a_shared_frame(small, waveform):
    """Training drops all frames of a clip of 0.16 s."""
    found = compare("musetalk-v1-train", "musetalk-v1-infer", (waveform[:2560], RATE), encoder=small)
    assert len(found.shared) == 0
    assert "0 of 0 chunks" in check(value_figure(found, [found]), units={"time in s", "layer"})


# --- one path, one frame


def cut(features: np.ndarray, n_samples: int, *names: str) -> dict:
    return {name: RECIPES[name].chunks(features, n_samples, 25) for name in names}


@pytest.mark.parametrize("frame", [0, 1, 2, 20, 48, 49])
@pytest.mark.parametrize("names", [("musetalk-v1-train", "musetools"), ("musetools",), ("musetalkplus-train",)])
def test_what_a_frame_hears(frame, names, waveform, features):
    chunks = cut(features, len(waveform), *names)
    said = check(frame_window(waveform, chunks, frame), units={"time in s", "mel bin", "amplitude\n(full scale 1)"})
    assert f"Frame {frame}" in said
    if frame in (0, 1, 48, 49) and "musetalk-v1-train" in names:
        assert "musetalk-v1-train no chunk" in said
    if frame == 20 and "musetools" in names:
        assert "musetools covers 200 ms, lag 0 ms" in said
    if frame == 0 and "musetools" in names:
        assert "musetools covers 120 ms, at an edge" in said


def test_what_a_frame_hears_in_a_second(small, waveform):
    second = waveform[:RATE]
    chunks = cut(audio2feat((second, RATE), small), RATE, "musetalk-v1-train", "musetalk-v1-infer")
    for frame in (0, 12, 26):  # the last is one of the two that v1 has too many
        assert f"Frame {frame}" in check(frame_window(second, chunks, frame, margin_s=2), units={"time in s"})


@pytest.mark.parametrize("n_samples", [2 * RATE, RATE, 2560, 1280])
@pytest.mark.parametrize("n_frames", [5, 1])
def test_both_ends_of_two_matrices(n_samples, n_frames, features):
    """At 0.16 s training has no frame at all; at 0.08 s there are fewer frames than are asked for."""
    train, infer = cut(features, n_samples, "musetalk-v1-train", "musetalk-v1-infer").values()
    figure = edge_tables(train, infer, n_frames=n_frames, names=("v1-train", "v1-infer"))
    said = check(figure, units={"position in the chunk"})
    assert {"v1-train: first frames", "v1-infer: last frames", "row of zeros"} <= set(said.split("\n"))
    cells = [text.get_text() for text in figure.axes[2].texts[:10]]
    assert cells == [str(row) for row in infer.rows[0]]


@pytest.mark.parametrize("n_rows", [100, 1])
@pytest.mark.parametrize("n_layers", [2, 1])
def test_a_map_of_features(n_rows, n_layers, features):
    figure = feature_map(features[:n_rows, :n_layers], weights="small", title="Two seconds")
    said = check(figure, units={"time in s (50 rows a second)", "layer 0"}, legend=False)
    assert "Two seconds · weights: small" in said


def test_a_map_of_features_on_disk(small, waveform, tmp_path):
    mapped = audio2feat((waveform, RATE), small, out=tmp_path / "features.npy")
    check(feature_map(mapped, weights="small", title="Mapped"), units={"layer 1"}, legend=False)


# --- notebook runs


@pytest.fixture
def shown(monkeypatch) -> list:
    """What `record` displays."""
    bundles = []
    monkeypatch.setattr(results, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def test_results_are_left_as_data_and_as_text(shown):
    record(frames=301, lag_ms=0.5, verdict="über", passed=True, missing=[0, 1])
    data = {"frames": 301, "lag_ms": 0.5, "verdict": "über", "passed": True, "missing": [0, 1]}
    assert shown == [
        {
            RESULT_MIME: data,
            "text/plain": 'frames: 301\nlag_ms: 0.5\nverdict: "über"\npassed: true\nmissing: [0, 1]',
        }
    ]


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [1, float("-inf")],
        np.float32(1),
        np.int64(1),
        {1, 2},
        pytest.param(object(), id="object"),
        b"x",
    ],
    ids=str,
)
def test_results_that_are_no_plain_numbers_are_refused(value, shown):
    with pytest.raises(ParameterError, match="finite numbers"):
        record(good=1, bad=value)
    assert shown == []


def test_files_are_found_from_any_folder_below(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a clip.wav").touch()
    (tmp_path / "notebooks" / "deep").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "notebooks" / "deep"):
        monkeypatch.chdir(folder)
        for path in ("data/a clip.wav", tmp_path / "data" / "a clip.wav"):
            assert project_file(path) == (tmp_path / "data" / "a clip.wav").resolve()


@pytest.mark.parametrize("path", ["data/none.wav", "/nowhere/none.wav"])
def test_a_file_that_is_nowhere_is_named(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=r"none\.wav") as caught:
        project_file(path)
    assert str(tmp_path) in str(caught.value)
