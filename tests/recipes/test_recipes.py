"""Recipes against what was recorded from the published code, and against slow second readings of it."""

import dataclasses
import importlib
import json
import math
import re
import sys
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pipelines import PIPELINES, gathered, numbered

import musetools
from musetools import RECIPES, FeatureSpec, ParameterError, RecipeError, register
from musetools.features.windows import MelWindows
from musetools.recipes.recipe import Recipe, add_positions
from musetools.timing import SAMPLE_RATE

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "published_windows.json"
NAMES = list(PIPELINES)
SECOND = 16_000

AROUND = [30 * SECOND, 28 * SECOND, 34 * SECOND, 9280, 18560, 640, 960, 1280, SECOND]
LENGTHS = st.one_of(
    st.integers(0, 3000),
    st.integers(0, 2000).map(lambda k: 320 * k),
    st.integers(0, 600_000),
    st.builds(lambda base, off: base + off, st.sampled_from(AROUND), st.integers(-330, 330)),
)
RATES = st.one_of(
    st.integers(1, 64),
    st.sampled_from([23.976, 23.98, 24.97, 29.97, 59.94, 12.5, 14.985, 47.952, 49.999, 25.0, 1.5]),
    st.integers(100, 6500).map(lambda n: n / 100),
    st.floats(1, 60).map(lambda fps: round(fps, 6)),
    st.sampled_from([Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25, 2), Fraction(25)]),
)
CONTEXTS = st.just((2, 2)) | st.tuples(st.integers(0, 5), st.integers(0, 5))


# --- what was recorded from the published code


def recorded(pipeline: str) -> list:
    if not GOLDEN.exists():
        absent = pytest.mark.skip(reason=f"the recorded windows are not there: {GOLDEN}")
        return [pytest.param({}, id="absent", marks=absent)]
    entries = json.loads(GOLDEN.read_text(encoding="utf-8"))[pipeline]
    return [pytest.param(entry, id="-".join(map(str, list(entry.values())[:2]))) for entry in entries]


def check_recorded(rows: np.ndarray, entry: dict) -> None:
    assert len(rows) == entry["n_chunks"]
    assert rows[:, 0].tolist() == entry["first_rows"]
    assert rows[:, -1].tolist() == entry["last_rows"]
    assert {frame: rows[int(frame)].tolist() for frame in entry["sample"]} == entry["sample"]


@pytest.mark.parametrize("name", ["musetalk-v1-infer", "latentsync"])
@pytest.mark.parametrize("entry", recorded("musetalk-v1-infer"))
def test_recorded_v1(entry, name):
    context = entry["left"], entry["right"]
    check_recorded(RECIPES[name].chunk_rows(320 * entry["n_rows"], entry["fps"], context), entry)
    check_recorded(RECIPES[name].chunk_rows(320 * entry["n_rows"] + 319, entry["fps"], context), entry)


@pytest.mark.parametrize("entry", recorded("musetalk-v1.5-infer"))
def test_recorded_v15(entry):
    recipe, context = RECIPES["musetalk-v1.5-infer"], (entry["left"], entry["right"])
    if entry.get("fails"):
        with pytest.raises(RecipeError):
            recipe.chunk_rows(entry["n_samples"], entry["fps"], context)
    else:
        check_recorded(recipe.chunk_rows(entry["n_samples"], entry["fps"], context), entry)


@pytest.mark.parametrize("entry", recorded("musetalk-v1.5-train"))
def test_recorded_v15_training(entry):
    rows = RECIPES["musetalk-v1.5-train"].chunk_rows(entry["n_samples"], 25)[entry["frame"]]
    start = entry["encoder_window_first_sample"] // 320
    assert rows.tolist() == [row if row == -1 else row + start for row in entry["rows_in_window"]]
    assert musetools.recipes.rows.training_window(entry["frame"]) == (320 * start, entry["frame_after_shift"])


# --- against slow second readings


def outcome(cut, *given) -> tuple:
    """Say what a pipeline makes of its input, or what stops it."""
    try:
        first, chunks = cut(*given)
    except (SystemExit, Exception) as error:
        return "stops", getattr(error, "original", type(error))
    return (first, chunks) if chunks else ("no frame", [])


def cut_by(recipe: Recipe):
    def cut(*given):
        rows = recipe.chunk_rows(*given)
        assert rows.dtype == np.int64
        assert rows.shape == (len(rows), 2 * (sum(given[2]) + 1))
        return recipe.first_frame(*given), rows.tolist()

    return cut


@pytest.mark.parametrize("name", NAMES)
@given(n_samples=LENGTHS, fps=RATES, context=CONTEXTS)
@settings(max_examples=60)
@example(0, 25, (2, 2))
@example(250, 64, (2, 2))  # a whole frame, but no row
@example(9280, 25, (2, 2))
@example(18560, 25, (2, 2))
@example(640, 25, (2, 2))  # 40 ms: the published process ends
@example(1279, 25, (2, 2))
@example(960, 16.9, (1, 0))
@example(16_000, 50, (2, 3))  # more look-ahead, so padding by 2 is enough
@example(31 * SECOND, 29.97, (2, 2))
@example(34 * SECOND, 23.976, (2, 2))
@example(16_000 * 3 + 1, 29.97, (1, 3))
def test_recipes_cut_as_the_originals_do(name, n_samples, fps, context):
    given = n_samples, fps, context
    assert outcome(cut_by(RECIPES[name]), *given) == outcome(PIPELINES[name], *given)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("latentsync", "livetalking-0-5")])
def test_an_hour_at_a_measured_rate(name):
    """Rounding that is right for a minute may be wrong for an hour; the two left out round as others do."""
    given = 3600 * SECOND + 123, 24.97, (2, 2)
    if name.startswith("livetalking"):
        given = 3600 * SECOND + 123, 24, (2, 2)
    assert outcome(cut_by(RECIPES[name]), *given) == outcome(PIPELINES[name], *given)


def test_every_recipe_is_tried_and_named():
    assert set(RECIPES) >= set(NAMES)
    assert all(RECIPES[name].name == name for name in RECIPES)


# --- inputs that stop the originals

STOPS = [
    ("musetalk-v1-infer", 319, 25, (2, 2), IndexError),
    ("latentsync", 0, 25, (2, 2), IndexError),
    ("musetalk-v1.5-infer", 16_000, 50, (2, 2), SystemExit),
    ("musetalk-v1.5-infer", 160_000, 59.94, (2, 2), SystemExit),
    ("musetalk-v1.5-infer", 640, 25, (2, 2), SystemExit),
    ("musetalk-v1.5-infer", 959, 25, (2, 2), SystemExit),
    ("musetalk-v1.5-infer", 639, 25, (2, 2), ValueError),
    ("openavatarchat", 16_000, 60, (2, 2), SystemExit),
    ("livetalking", 32_000, 29.97, (2, 2), TypeError),
    ("livetalking-0-5", 32_000, 12.5, (2, 2), TypeError),
    ("musetalkplus-train", 16_000, 25, (2, 3), TypeError),
]


@pytest.mark.parametrize(("name", "n_samples", "fps", "context", "original"), STOPS)
def test_a_stop_says_who_stops_and_on_what(name, n_samples, fps, context, original):
    for ask in (RECIPES[name].chunk_rows, RECIPES[name].first_frame):
        with pytest.raises(RecipeError, match="^" + name.replace(".", r"\.")) as caught:
            ask(n_samples, fps, context)
        assert caught.value.original is original
        assert f"{n_samples} samples" in str(caught.value)
        assert f"{fps} fps" in str(caught.value)
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_input_at_all_is_the_callers_error(name):
    for fps in (0, -25, math.nan, math.inf, "25", None):
        with pytest.raises(ParameterError, match="fps"):
            RECIPES[name].chunk_rows(SECOND, fps)
    for context in ((2,), (2, -1), (1.5, 2), None, "22"):
        with pytest.raises(ParameterError, match="context"):
            RECIPES[name].chunk_rows(SECOND, 25, context)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_numpy_will_do(name):
    expected = RECIPES[name].chunk_rows(50_000, 25)
    given = np.int64(50_000), np.float64(25), (np.int64(2), np.int32(2))
    np.testing.assert_array_equal(RECIPES[name].chunk_rows(*given), expected)


# --- chunks


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [3, 32.3])
def test_chunks_are_the_rows_gathered(name, seconds):
    recipe, n_samples = RECIPES[name], int(seconds * SECOND)
    rows = recipe.chunk_rows(n_samples, 25)
    features = numbered(rows.max() + 1)
    chunks = recipe.chunks(features, n_samples, 25)
    assert len(chunks) == len(rows) > 0
    assert chunks.frames == range(recipe.first_frame(n_samples, 25), chunks.frames.start + len(rows))
    for chunk, taken in zip(chunks, rows.tolist(), strict=True):
        np.testing.assert_array_equal(chunk, gathered(features, taken))


@pytest.mark.parametrize("name", NAMES)
def test_features_that_lack_rows_are_refused(name):
    recipe = RECIPES[name]
    needed = recipe.chunk_rows(3 * SECOND, 25).max() + 1
    with pytest.raises(
        ParameterError, match=rf"{needed - 1} of 48000 samples, the features have {needed - 1}"
    ) as caught:
        recipe.chunks(numbered(needed - 1), 3 * SECOND, 25)
    assert name in str(caught.value)
    assert f"spec=RECIPES[{name!r}].features" in str(caught.value)


@pytest.mark.parametrize(("context", "first"), [((2, 2), 2), ((5, 1), 5), ((0, 3), 0)])
def test_frames_that_are_dropped_are_counted(context, first):
    """A frame whose neighbours to the left are missing has no line; the others keep their numbers."""
    recipe = RECIPES["musetalk-v1-train"]
    assert recipe.first_frame(10 * SECOND, 25, context) == first
    assert recipe.chunk_rows(10 * SECOND, 25, context)[0, 0] == 0
    chunks = recipe.chunks(numbered(500), 10 * SECOND, 25, context)
    assert chunks.frames == range(first, 250 - context[1])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "musetalk-v1-train"])
def test_nothing_else_drops_frames(name):
    assert RECIPES[name].first_frame(3 * SECOND, 25, (3, 3)) == 0


# --- what a recipe says of itself


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_says_where_it_comes_from(name):
    recipe = RECIPES[name]
    assert "/" in recipe.source
    assert any(character.isdigit() for character in recipe.version)
    assert len(recipe.note) > 40
    assert recipe.note.endswith(".")
    assert isinstance(recipe.features, FeatureSpec)
    assert isinstance(recipe.positional_encoding, bool)
    assert repr(recipe) == f"Recipe({name!r}, {recipe.version}, {recipe.source})"
    assert name in recipe._repr_html_()
    assert recipe.version in recipe._repr_html_()


@pytest.mark.parametrize("name", sorted({name for name, *_ in STOPS}))
def test_what_stops_is_in_the_note(name):
    note = RECIPES[name].note
    assert "stops" in note.lower() or note.startswith("As ")  # which refers to another recipe's


def test_html_is_escaped():
    recipe = dataclasses.replace(RECIPES["musetools"], name="<i>a", version="<i>b", source="<i>c", note="<i>d&")
    assert "<i>" not in recipe._repr_html_()
    assert "&lt;i&gt;d&amp;" in recipe._repr_html_()


# --- recipes of one's own


@pytest.fixture
def tidy():
    """Leave `RECIPES` as it was."""
    before = dict(RECIPES)
    yield
    RECIPES.clear()
    RECIPES.update(before)


def test_registering_is_one_call(tidy):
    mine = dataclasses.replace(RECIPES["musetools"], name="mine")
    assert register(mine) is mine
    assert RECIPES["mine"] is mine
    assert register(mine) is mine  # a cell that is run twice
    np.testing.assert_array_equal(RECIPES["mine"].chunk_rows(SECOND, 25), RECIPES["musetools"].chunk_rows(SECOND, 25))


def test_a_recipe_in_a_file_outside_the_package(tidy, tmp_path, monkeypatch, capsys):
    """The code that CONTRIBUTING shows, as a module of somebody's own; and a chunker that is read by numbered rows."""
    pytest.importorskip("matplotlib", reason="mt.compare needs the extra lab")
    page = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    code = re.search(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "somebodys.py").write_text(
        f"{code}\ndef chunker(f, fps):\n    return mt.feature2chunks(f, fps)\n", "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("somebodys")
    assert "late" in capsys.readouterr().out
    assert RECIPES["late"].chunk_rows(SECOND, 25)[10, 0] == RECIPES["musetools"].chunk_rows(SECOND, 25)[10, 0] + 1
    traced = register(musetools.traced_recipe("somebodys:chunker", "musetools"))
    np.testing.assert_array_equal(traced.chunk_rows(SECOND, 25), RECIPES["musetools"].chunk_rows(SECOND, 25))


def test_a_name_is_given_once(tidy):
    other = dataclasses.replace(RECIPES["latentsync"], name="musetools")
    with pytest.raises(ParameterError, match="'musetools' already"):
        register(other)
    assert RECIPES["musetools"] is not other
    assert list(RECIPES) == list(musetools.RECIPES)


def test_a_recipe_is_a_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPES["musetools"].name = "mine"


# --- positional encoding


def published_positions(chunks: torch.Tensor) -> torch.Tensor:
    """FACTS section 1: sinusoids of the chunk's own width, even places the sine, odd the cosine; float32 throughout."""
    n_rows, width = chunks.shape[-2:]
    rate = torch.pow(torch.tensor(10_000.0), -torch.arange(0, width, 2, dtype=torch.float32) / width)
    angle = torch.outer(torch.arange(n_rows, dtype=torch.float32), rate)
    return chunks + torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


@pytest.mark.parametrize("shape", [(50, 384), (7, 50, 384), (2, 3, 10, 8), (1, 2), (0, 50, 384)])
def test_positions_equal_the_published_formula(shape):
    chunks = np.random.default_rng(0).standard_normal(shape, np.float32)
    got = add_positions(chunks)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, published_positions(torch.from_numpy(chunks)).numpy(), rtol=0, atol=2e-5)


def test_positions_number_by_number():
    got = add_positions(np.zeros((50, 384), np.float32))
    for row, k in [(0, 0), (1, 0), (17, 3), (49, 191)]:
        angle = row / 10_000 ** (2 * k / 384)
        assert got[row, 2 * k] == pytest.approx(math.sin(angle), abs=1e-6)
        assert got[row, 2 * k + 1] == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_positions_are_added_in_float32(dtype):
    chunks = np.ones((50, 384), dtype)
    assert add_positions(chunks).dtype == np.float32
    assert (chunks == 1).all()  # the caller's array, perhaps a view of a file, is left alone


def test_chunks_of_a_recipe_take_positions():
    chunks = RECIPES["musetools"].chunks(numbered(50, 5, 384), SECOND, 25)
    np.testing.assert_array_equal(add_positions(np.asarray(chunks))[3], add_positions(chunks[3]))


def test_what_a_model_is_given():
    features = numbered(60, 5, 384)  # v1.5's training takes rows of the padding
    for name, encoded in (("musetalk-v1-train", True), ("musetalk-v1.5-train", False)):
        chunks = RECIPES[name].chunks(features, SECOND, 25)
        given, chunk = RECIPES[name].model_input(chunks, 7), chunks[7 - chunks.frames.start]
        np.testing.assert_array_equal(given, add_positions(chunk) if encoded else chunk)
    with pytest.raises(ParameterError, match="frame 1 has no chunk"):
        RECIPES["musetalk-v1-train"].model_input(RECIPES["musetalk-v1-train"].chunks(features, SECOND, 25), 1)


# --- contexts wider than (2, 2)

SHORT = (1280, SECOND - 1, SECOND, SECOND + 1, 2 * SECOND + 320)  # samples: where a second is just reached or not
BOUNDARIES_S = (27.98, 28.0, 28.02, 29.2, 29.88, 29.98, 30.0, 30.02, 33.0)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("context", [(2, 2), (2, 3), (5, 5), (2, 20), (20, 2)])
def test_any_context_at_any_boundary_length(name, context):
    """The features of a recipe's own spec have every row that its chunks take."""
    recipe, run = RECIPES[name], 0
    for n_samples in (*SHORT, *(round(seconds * SAMPLE_RATE) for seconds in BOUNDARIES_S)):
        with suppress(RecipeError):
            rows = recipe.chunk_rows(n_samples, 25, context)
            run += n_samples not in SHORT
            assert rows.max(initial=-1) < kept_rows(recipe.features, n_samples), n_samples
    stops = name == "musetalkplus-train" and context[0] != context[1]
    assert run == (0 if stops else len(BOUNDARIES_S))


@cache
def kept_rows(spec: FeatureSpec, n_samples: int) -> int:
    """Count the rows that the window loop keeps, without encoding them."""
    if not spec.keep_padding:
        return n_samples // 320
    loop = MelWindows(spec, 80)
    samples = np.zeros(n_samples, np.float32)
    return sum(window.keep for window in loop.push(samples) + loop.flush())


@pytest.mark.parametrize("name", RECIPES)
def test_a_day(name):
    """Its matrix is made without a step of Python for each frame."""
    rows = RECIPES[name].chunk_rows(86_400 * SECOND, 25)
    assert abs(len(rows) - 86_400 * 25) < 32


def broken(cut) -> musetools.Recipe:
    return musetools.Recipe("broken", "musetools", cut, False, "own.py", "1", "")


@pytest.mark.parametrize(
    ("cut", "error", "message"),
    [
        (lambda n, fps, context: np.zeros((3, 10), int), RecipeError, "ValueError"),
        (lambda n, fps, context: (0, [1, 2]), ParameterError, "rows must be whole numbers"),
        (lambda n, fps: None, RecipeError, "TypeError"),
        (lambda n, fps, context: {}["gone"], RecipeError, "KeyError: 'gone'"),
        (lambda n, fps, context: sys.exit(), RecipeError, "SystemExit"),
    ],
)
def test_a_cut_that_is_broken_costs_its_recipe_alone(monkeypatch, cut, error, message):
    recipe = broken(cut)
    assert recipe.features == musetools.FeatureSpec.named("musetools")
    with pytest.raises(error, match=message):
        recipe.chunk_rows(96_000, 25)
    monkeypatch.setitem(musetools.RECIPES, "broken", recipe)
    assert musetools.identify_rows(musetools.chunk_rows(300, 25), 25, n_rows=300)[0].recipe == "musetools"


def test_what_is_no_recipe_is_not_registered():
    with pytest.raises(musetools.ParameterError, match="got str"):
        musetools.register("musetools")


@pytest.mark.parametrize("given", [{"n_rows": 300.0}, {"n_rows": -1}])
def test_arguments_of_identify_rows_are_not_a_fault_of_recipes(given):
    with pytest.raises(musetools.ParameterError, match="n_rows must be"):
        musetools.identify_rows(musetools.chunk_rows(300, 25), 25, **given)
