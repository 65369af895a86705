"""Any chunker's index matrix is read off numbered rows; what is no gather is an error that says what it is."""

import re
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import musetools as mt
from musetools.cli import main
from musetools.recipes.identify import chunker_named, identify_rows
from musetools.recipes.recipe import add_positions
from musetools.recipes.trace import TraceError, trace_rows

N_ROWS = 300


def gather(features, fps=25.0):
    return np.asarray(mt.feature2chunks(features, fps))


def one_array_anew(features):
    """A generator that fills the same array for each frame."""
    buffer = np.empty((50, 384), np.float32)
    for chunk in gather(features):
        buffer[:] = chunk
        yield buffer


SHAPES = {
    "array": gather,
    "rows and layers": lambda f: gather(f).reshape(-1, 10, 5, 384),
    "list": lambda f: list(mt.feature2chunks(f, 25)),
    "generator": lambda f: (chunk for chunk in mt.feature2chunks(f, 25)),
    "float16": lambda f: gather(f).astype(np.float16),
    "float64": lambda f: gather(f).astype(np.float64),
    "tensor": lambda f: torch.from_numpy(gather(f)),
    "tensors with grad": lambda f: [torch.from_numpy(c.copy()).requires_grad_() for c in mt.feature2chunks(f, 25)],
    "bfloat16": lambda f: torch.from_numpy(gather(f)).bfloat16(),
    "half on the way": lambda f: gather(f.astype(np.float16)),
    "one array, filled anew": one_array_anew,
    "a batch of one": lambda f: torch.from_numpy(gather(f))[None],
    "a batch of one, rows and layers": lambda f: gather(f).reshape(1, -1, 10, 5, 384),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_a_chunker_returns(shape):
    trace = trace_rows(SHAPES[shape], N_ROWS)
    np.testing.assert_array_equal(np.asarray(trace), mt.chunk_rows(N_ROWS, 25))
    assert (trace.rows.dtype, trace.notes) == (np.int64, ())


@pytest.mark.parametrize("fps", [24, 25, 29.97, 30])
@pytest.mark.parametrize("name", ["musetools", "musetalk-v1-infer", "musetalk-v1.5-infer", "latentsync"])
def test_recipes_are_traced_and_identified(name, fps):
    recipe = mt.RECIPES[name]
    trace = trace_rows(lambda f: np.asarray(recipe.chunks(f, N_ROWS * 320, fps)), N_ROWS)
    np.testing.assert_array_equal(trace.rows, recipe.chunk_rows(N_ROWS * 320, fps))
    matches = identify_rows(trace, fps, n_rows=N_ROWS)
    assert name in [match.recipe for match in matches if match.equal == 1]
    assert matches[0].first_difference is None
    assert name in matches.summary()


def test_rows_beyond_what_half_precision_counts():
    n_rows = 70_000
    rows = np.array([[0, 2049], [4097, 65_537], [69_999, -1]])
    features = {}

    def chunker(given):
        features["sent"] = given
        return np.where((rows >= 0)[..., None, None], given[rows], 0).astype(np.float16)

    np.testing.assert_array_equal(trace_rows(chunker, n_rows, n_layers=1, width=8).rows, rows)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_positional_encoding_is_taken_off_and_noted(kind):
    trace = trace_rows(lambda f: add_positions(gather(f)).astype(kind), N_ROWS)
    np.testing.assert_array_equal(trace.rows, mt.chunk_rows(N_ROWS, 25))
    assert "positional encoding" in trace.notes[0]


def interpolated(features):
    chunks = gather(features).copy()
    chunks[7] = (chunks[7] + chunks[9]) / 2
    return chunks


def layers_first(features):
    return gather(features).reshape(-1, 10, 5, 384).swapaxes(1, 2).reshape(-1, 50, 384)


def layers_reversed(features):
    return gather(features[:, ::-1])


def last_layer(features):
    return features[mt.chunk_rows(len(features), 25)][:, :, -1]


def layers_averaged(features):
    return features[mt.chunk_rows(len(features), 25)].mean(axis=2)


def neighbours_mixed(features):
    mixed = features.copy()
    mixed[:, :-1] = 0.6 * features[:, :-1] + 0.4 * features[:, 1:]
    return gather(mixed)


def fewer(seen):
    """Return a chunker that loses ten chunks at its second call."""
    return lambda features: gather(features)[: 140 if seen.setdefault("first", features) is not features else 150]


def kept_in(kept):
    """Return a chunker that makes its chunks once."""
    return lambda features: kept.setdefault("chunks", gather(features))


def kept_rows(kept):
    """Return a chunker that puts the last rows of its last call before the first ones, as live code does."""

    def chunker(features):
        before = kept.pop() if kept else np.zeros_like(features[:10])
        kept.append(features[-10:])
        return gather(np.concatenate([before, features]))

    return chunker


def dropped(features):
    return torch.nn.functional.dropout(torch.from_numpy(gather(features)))


def drawn(features, dice=np.random.default_rng(0)):  # noqa: B008
    return gather(features)[dice.permutation(100)]


def stops(features):
    raise ValueError("no such clip")


@pytest.mark.parametrize(
    ("chunker", "expected"),
    [
        (interpolated, r"mixed or interpolated.*chunk 7"),
        (lambda f: gather(f) * 0.5, r"times 0\.5: values are rescaled.*chunk 0"),
        (lambda f: gather(f) * 2, r"times 2: values are rescaled"),
        (layers_first, r"layers are in another order: all rows of a layer, .*chunk\.reshape\(5, -1, 384\)\.swapaxes"),
        (lambda f: gather(f) / 1000, r"times 0\.001: values are rescaled"),
        (lambda f: add_positions(gather(f) / 1000), r"no row of the features"),
        (lambda f: gather(f) * 0.999, r"times 0\.999: values are rescaled"),
        (lambda f: gather(f / np.linalg.norm(f, axis=-1, keepdims=True)), r"rescaled"),
        (neighbours_mixed, r"rows or layers are mixed"),
        (lambda f: (gather(f)[i : i + 10] for i in range(0, 150, 10)), r"chunks must be .*got \(10, 50, 384\)"),
        (lambda f: (gather(f), gather(f)), r"chunks must be .*got \(150, 50, 384\)"),
        (fewer({}), r"other chunks at each call: it draws at random"),
        (kept_rows([]), r"other chunks at each call: .*keeps a state"),
        (dropped, r"other chunks at each call: .*dropout"),
        (lambda f: gather(f)[: 150 if f.max() > 1 else 140], r"150 chunks, then 140"),
        (last_layer, r"not all there.*layers \[4, 4, 4, 4, 4\].*n_layers=1"),
        (layers_averaged, r"rows or layers are mixed"),
        (kept_in({}), r"the same chunks for other features: it keeps what it made"),
        (drawn, r"other chunks at each call: it draws at random"),
        # what looks at values
        (lambda f: gather(f)[: int(f.max()) // 4], r"31 chunks, then|no chunks"),
        (lambda f: gather(f * (np.abs(f).mean(axis=(1, 2), keepdims=True) > 3)), r"where they have other values"),
        (lambda f: gather(np.where(np.arange(384) < 192, f, 0)), r"their values are changed"),
        (lambda f: {"audio": gather(f)}, r"got dict with 'audio'"),
        (lambda f: gather(f).astype(np.int8), r"of floats; got ndarray of int8"),
        (lambda f: None, r"got NoneType"),
        (lambda f: "chunks", r"got str"),
        (lambda f: 3.0, r"three or four axes; got \(\)"),
        (layers_reversed, r"layers are in another order.*\[4, 3, 2, 1, 0\]"),
        (stops, r"stops on 300 rows: ValueError: no such clip"),
        (lambda f: exit(), r"stops on 300 rows: SystemExit"),
        (lambda f: gather(f)[:, :, :100], r"chunks must be \(rows · 5, 384\)"),
        (lambda f: [], "no chunks"),
        (lambda f: [np.zeros((50, 384)), np.zeros((45, 384))], "one shape is expected"),
        (lambda f: gather(f) + np.nan, "not finite"),
        (lambda f: np.full((3, 50, 384), 1e30), "no row of the features"),
        (lambda f: np.zeros((0, 50, 384)), "no chunks"),
    ],
)
def test_what_is_no_gather(chunker, expected):
    with pytest.raises(TraceError, match=expected):
        trace_rows(chunker, N_ROWS)


def test_one_layer_alone():
    rows = trace_rows(last_layer, N_ROWS, n_layers=1).rows
    np.testing.assert_array_equal(rows, mt.chunk_rows(N_ROWS, 25))


def test_zeros_alone_are_not_taken_for_kept_chunks():
    assert (trace_rows(lambda f: np.zeros((3, 50, 384)), N_ROWS).rows == -1).all()


def test_a_mean_of_two_rows_is_not_taken_for_the_row_between():
    def blurred(features):
        return (gather(features) + gather(np.roll(features, 2, axis=0))) / 2

    with pytest.raises(TraceError, match="mixed or interpolated"):
        trace_rows(blurred, N_ROWS)


def test_a_fork_that_is_none_of_them():
    """A context that does not follow the frame rate, and two frames too few."""
    rows = mt.RECIPES["musetalk-v1.5-infer"].chunk_rows(N_ROWS * 320, 25)[:-2]
    found = identify_rows(rows, 25, n_rows=N_ROWS)
    assert found[0].equal < 1
    assert "none of them: nearest is" in found.summary()
    late = identify_rows(np.maximum(rows - 3, -1), 25, n_rows=N_ROWS)
    assert "ms of lag" in late.summary()


def test_the_nearest_is_the_nearest_in_time():
    """Of a recipe that drifts some rows are equal by chance."""
    rows = mt.RECIPES["musetools"].chunk_rows(60 * 16_000, 29.97) + 1
    found = identify_rows(rows, 29.97, n_rows=3000)
    assert found[0].recipe in ("musetools", "musetalk-v1-infer")
    assert "+20 ms of lag" in found.summary()
    assert "drift" not in found.summary()


def test_a_recipe_that_drops_its_first_frames_is_named_with_its_first():
    """The same matrix is wrong by 80 ms where its first chunk is of frame 0."""
    rows = mt.chunk_rows(N_ROWS, 25, edge="drop")
    named = "is musetalk-v1-train (its first chunk is of frame 2)"
    assert f"it {named}: every row" in identify_rows(rows, 25, n_rows=N_ROWS).summary()
    assert named in identify_rows(rows[:-1], 25, n_rows=N_ROWS).summary()


def test_another_context_is_named():
    summary = identify_rows(mt.chunk_rows(N_ROWS, 25, (2, 3)), 25, n_rows=N_ROWS).summary()
    assert summary == "it is musetools with context (2, 3): every row of every frame is equal"


def test_a_row_of_zeros_does_not_hide_the_recipe():
    rows = mt.RECIPES["musetalk-v1-infer"].chunk_rows(N_ROWS * 320, 25)
    rows[:, 0] = -1
    assert identify_rows(rows, 25, n_rows=N_ROWS)[0].recipe == "musetalk-v1-infer"


def test_chunks_without_a_lag_have_no_drift():
    """Of rows that repeat, at a rate at which the nearest recipe drifts."""
    rows = np.repeat(mt.RECIPES["musetalk-v1-train"].chunk_rows(N_ROWS * 320, 30)[:, :1], 10, axis=1)
    summary = identify_rows(rows, 30, n_rows=N_ROWS).summary()
    assert "drift" not in summary


@pytest.mark.parametrize("rows", [np.zeros((3, 10)), np.zeros(10, int), np.zeros((0, 10), int)])
def test_what_is_no_index_matrix(rows):
    with pytest.raises(mt.ParameterError, match=r"an index matrix is|rows must be whole numbers"):
        identify_rows(rows, 25)


@pytest.mark.parametrize("per_chunk", [1, 9])
def test_an_odd_number_of_rows_is_of_no_recipe(per_chunk):
    trace = trace_rows(lambda f: f[mt.chunk_rows(len(f), 25)[:, :per_chunk]], N_ROWS)
    found = identify_rows(trace, 25)
    assert len(found) == 0
    assert found.summary() == "no known recipe gives chunks of so many rows at such places"


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        ((0, 5, 384), "are needed"),
        ((10, 0, 384), "are needed"),
        ((10, 5, 3), "are needed"),
        (("300", 5, 384), "n_rows must be a whole number"),
        ((True, 5, 384), "n_rows must be a whole number"),
        ((10, 5.0, 384), "n_layers must be a whole number"),
        ((10, 5, None), "width must be a whole number"),
        ((2**40, 5, 384), "GiB, at most 4 are sent"),
    ],
)
def test_what_cannot_be_numbered(shape, fault):
    with pytest.raises(mt.ParameterError, match=fault):
        trace_rows(gather, shape[0], n_layers=shape[1], width=shape[2])


OWN = """
import musetools as mt
def chunks(features, fps):
    return mt.RECIPES["musetalk-v1.5-infer"].chunks(features, len(features) * 320, fps)
late = lambda features, fps: mt.feature2chunks(features, fps)[3:]
dropped = lambda features, fps: mt.RECIPES["musetalk-v1-train"].chunks(features, len(features) * 320, fps)
still = lambda features, fps: features[mt.chunk_rows(len(features), fps)[:, :1].repeat(10, 1)]
odd = lambda features, fps: features[mt.chunk_rows(len(features), fps)[:, :9]]
number = 3
"""


def test_the_command_traces_a_module_of_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "own_code.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        main, ["trace", "own_code:chunks", "--fps", "25", "--fps", "29.97", "--fps", "50", "--seconds", "8"]
    )
    assert done.exit_code == 0, done
    lines = done.stdout.splitlines()[2:]
    assert [line.split()[0] for line in lines] == ["25", "29.97", "50"]
    assert all("it is musetalk-v1.5-infer" in line for line in lines[:2])
    assert "stops on 400 rows: RecipeError" in lines[2]
    done = CliRunner().invoke(main, ["trace", "own_code:late", "--fps", "25", "--seconds", "8"])
    assert "it is none of them" in done.stdout
    done = CliRunner().invoke(main, ["trace", "own_code:dropped", "--fps", "25"])  # its first chunk is frame 2's
    assert re.search(r"25 +1496 +\+0 +it is musetalk-v1-train \(its first chunk is of frame 2\):", done.stdout), (
        done.stdout
    )
    done = CliRunner().invoke(main, ["trace", "own_code:odd", "--fps", "25", "--fps", "30", "--seconds", "8"])
    assert done.stdout.count("no known recipe gives chunks of so many rows") == 2
    done = CliRunner().invoke(main, ["trace", "own_code:still", "--fps", "25", "--seconds", "8"])
    assert done.stdout.splitlines()[2].split()[:3] == ["25", "200", "–"]
    for name, fault in (
        ("own_code:number", "is no function"),
        ("own_code:gone", "cannot be imported"),
        ("x", "cannot be"),
    ):
        done = CliRunner().invoke(main, ["trace", name])
        assert (done.exit_code, fault in done.output) == (2, True), done.output
    for seconds, fault in (("nan", "above 0; got nan"), ("inf", "above 0; got inf"), ("1e9", "at most 4 are sent")):
        done = CliRunner().invoke(main, ["trace", "own_code:late", "--seconds", seconds])
        assert (done.exit_code, fault in done.output) == (2, True), done.output


LAZY = """
import os
os.chdir("..")
def chunks(features, fps):
    from beside import feature2chunks
    return feature2chunks(features, fps)
class Mine:
    @staticmethod
    def chunks(features, fps):
        return chunks(features, fps)
"""


@pytest.mark.parametrize("function", ["chunks", "Mine.chunks"])
def test_code_that_imports_late_and_changes_the_folder(tmp_path, monkeypatch, function):
    name = f"lazy_{function.partition('.')[0].lower()}"
    (tmp_path / "beside.py").write_text("from musetools import feature2chunks")
    (tmp_path / f"{name}.py").write_text(LAZY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    np.testing.assert_array_equal(
        trace_rows(lambda f: chunker_named(f"{name}:{function}")(f, 25), N_ROWS).rows, mt.chunk_rows(N_ROWS, 25)
    )


@pytest.mark.parametrize("code", ["import sys; sys.exit(0)", "1 / 0", "def broken(:"])
def test_code_that_ends_or_fails_as_it_is_imported(tmp_path, monkeypatch, code):
    name = f"failing_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    done = CliRunner().invoke(main, ["trace", f"{name}:chunks"])
    assert (done.exit_code, "cannot be imported" in done.output) == (2, True), done.output
