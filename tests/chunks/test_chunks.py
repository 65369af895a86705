"""The index matrix against a slow loop, and the lazy sequence against plain gathering."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import numbered

from musetools import RECIPES, Chunks, ParameterError, chunk_rows, feature2chunks
from musetools.chunks.rows import EDGES, row_lag_ms

NTSC = {23.976: 24, 23.98: 24, 29.97: 30, 47.952: 48, 59.94: 60, 119.88: 120}
COUNTS = st.integers(0, 300)
CONTEXTS = st.tuples(st.integers(0, 5), st.integers(0, 5))


def hundredths(n: int) -> tuple[float, Fraction]:
    """Give n/100 fps as a float, with what it stands for."""
    near = [Fraction(1000 * whole, 1001) for whole in NTSC.values() if abs(n / 100 - 1000 * whole / 1001) < 0.005]
    return n / 100, near[0] if near else Fraction(n, 100)


RATES = st.one_of(
    st.fractions(1, 120, max_denominator=2000).map(lambda fps: (fps, fps)),
    st.integers(1, 120).map(lambda fps: (fps, Fraction(fps))),
    st.integers(100, 12000).map(hundredths),
    st.sampled_from([(fps, Fraction(1000 * whole, 1001)) for fps, whole in NTSC.items()]),
)


def slow_rows(n_rows, fps, context, edge, n_frames) -> tuple[list[int], list[list[int]]]:
    """Cut frame by frame and row by row, in Fractions; give the frames that are kept, and their rows."""
    n_frames = math.floor(n_rows * fps / 50) if n_frames is None else n_frames
    kept, rows = [], []
    for frame in range(n_frames):
        first = math.floor(50 * frame / fps) - 2 * context[0]
        wanted = [first + j for j in range(2 * (sum(context) + 1))]
        if edge == "drop" and (wanted[0] < 0 or wanted[-1] >= n_rows):
            continue
        if edge == "clamp":
            wanted = [min(max(row, 0), n_rows - 1) for row in wanted]
        kept.append(frame)
        rows.append([row if 0 <= row < n_rows else -1 for row in wanted])
    return kept, rows


# --- the index matrix


@settings(max_examples=200)
@given(n_rows=COUNTS, rate=RATES, context=CONTEXTS, edge=st.sampled_from(EDGES), n_frames=st.none() | COUNTS)
def test_chunk_rows_equals_the_slow_loop(n_rows, rate, context, edge, n_frames):
    if edge == "clamp" and n_rows == 0 and n_frames:
        n_rows = 1
    fps, meant = rate
    rows = chunk_rows(n_rows, fps, context, edge=edge, n_frames=n_frames)
    kept, expected = slow_rows(n_rows, meant, context, edge, n_frames)
    assert rows.dtype == np.int64
    assert rows.shape == (len(kept), 2 * (sum(context) + 1))
    assert rows.tolist() == expected


@given(n_rows=COUNTS, rate=RATES, context=CONTEXTS, n_frames=st.none() | COUNTS)
def test_drop_keeps_the_numbers_of_the_frames(n_rows, rate, context, n_frames):
    chunks = feature2chunks(numbered(n_rows, 1, 1), rate[0], context, edge="drop", n_frames=n_frames)
    assert list(chunks.frames) == slow_rows(n_rows, rate[1], context, "drop", n_frames)[0]
    assert not np.isnan(chunks.lag_ms()).any()


@pytest.mark.parametrize(("fps", "exact"), [(29.97, Fraction(30000, 1001)), (23.976, Fraction(24000, 1001))])
def test_ten_hours_do_not_drift(fps, exact):
    n_rows = 10 * 3600 * 50
    centres = chunk_rows(n_rows, fps)[:, 4]
    frames = np.arange(len(centres))
    assert len(frames) == math.floor(36_000 * exact)
    late = 50 * frames * exact.denominator - centres * exact.numerator  # rows, times the numerator: exact integers
    assert ((late >= 0) & (late < exact.numerator)).all()  # never before the row, always less than 20 ms after it


def test_the_published_window_at_25_fps():
    rows = chunk_rows(100, 25)
    assert rows.shape == (50, 10)
    assert rows[20].tolist() == list(range(36, 46))
    assert rows[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert rows[49].tolist() == [94, 95, 96, 97, 98, 99, 99, 99, 99, 99]


def test_musetalk_cuts_the_same_chunks(shared):
    recorded = json.loads((shared / "golden" / "published_windows.json").read_text())["musetalk-v1-infer"]
    for entry in (entry for entry in recorded if entry["fps"] == 25):
        rows = chunk_rows(entry["n_rows"], 25)
        assert len(rows) == entry["n_chunks"] - 2  # published: two too many, defect K11
        assert rows[:, 0].tolist() == entry["first_rows"][:-2]
        assert rows[:, -1].tolist() == entry["last_rows"][:-2]
        listed = {int(frame): taken for frame, taken in entry["sample"].items() if int(frame) < len(rows)}
        assert {frame: rows[frame].tolist() for frame in listed} == listed


# --- the lazy sequence


def test_interior_chunks_are_views_and_edge_chunks_are_right():
    features = numbered(40, 5, 6)
    chunks = feature2chunks(features, 25)
    shared = [np.shares_memory(chunk, features) for chunk in chunks]
    assert shared == [False] * 2 + [True] * 16 + [False] * 2
    for chunk, rows in zip(chunks, chunks.rows, strict=True):
        np.testing.assert_array_equal(chunk, features[rows].reshape(50, 6))


def test_a_memory_mapped_file_is_not_read_before_it_is_asked(tmp_path):
    np.save(tmp_path / "clip.npy", numbered(100))
    mapped = np.load(tmp_path / "clip.npy", mmap_mode="r")
    chunks = feature2chunks(mapped, 25)
    assert np.shares_memory(chunks[10], mapped)
    np.testing.assert_array_equal(chunks[10], numbered(100)[16:26].reshape(30, 4))
    np.testing.assert_array_equal(chunks.batch(0, 50), np.stack(list(chunks)))


def test_features_in_any_memory_layout_give_the_same_chunks():
    plain = numbered(40)
    for features in (np.asfortranarray(plain), np.repeat(plain, 2, axis=2)[..., ::2], plain[::-1].copy()[::-1]):
        np.testing.assert_array_equal(feature2chunks(features, 25), feature2chunks(plain, 25))


def test_it_behaves_as_a_list():
    chunks = feature2chunks(numbered(40), 25)
    as_list = list(chunks)
    assert len(chunks) == len(as_list) == 20
    for index in (0, 7, 19, -1, -20, np.int64(3)):
        np.testing.assert_array_equal(chunks[index], as_list[index])
    for index, chunk in enumerate(chunks):
        np.testing.assert_array_equal(chunk, as_list[index])
    for beyond in (20, -21):
        with pytest.raises(IndexError):
            chunks[beyond]
    np.testing.assert_array_equal(list(reversed(chunks)), as_list[::-1])


@pytest.mark.parametrize(
    "cut", [slice(None), slice(3, 9), slice(-4, None), slice(5, 2), slice(0, 99), slice(2, None, 1)]
)
def test_a_slice_is_lazy_and_keeps_frame_numbers(cut):
    chunks = feature2chunks(numbered(40), 25, edge="drop")
    part = chunks[cut]
    assert isinstance(part, Chunks)
    assert list(part.frames) == list(chunks.frames)[cut]
    np.testing.assert_array_equal(part.lag_ms(), chunks.lag_ms()[cut])
    for chunk, expected in zip(part, list(chunks)[cut], strict=True):
        np.testing.assert_array_equal(chunk, expected)


def test_a_chunk_is_found_by_its_frame():
    chunks = feature2chunks(numbered(40), 25, edge="drop")[1:]
    assert chunks.frames.start == 3
    for line, frame in enumerate(chunks.frames):
        assert chunks.index_of(frame) == line
        np.testing.assert_array_equal(chunks.at(frame), chunks[line])
    for missing in (0, 2, chunks.frames.stop, -1):
        with pytest.raises(ParameterError, match=f"frame {missing} has no chunk: there are 3 … 17"):
            chunks.at(missing)


def test_a_slice_with_steps_is_refused():
    with pytest.raises(ParameterError, match=r"steps of 1; got slice.*chunks.rows"):
        feature2chunks(numbered(40), 25)[::2]


@pytest.mark.parametrize(
    "index", [[1, 2], [19, -20, 3, 3], [], np.array([4, 0]), np.arange(20) % 3 == 0, [True] * 20, torch.tensor([3, 0])]
)
def test_a_list_of_indices_or_a_mask_gives_an_array_as_numpy_does(index):
    chunks = feature2chunks(numbered(40), 25)
    taken = chunks[index]
    np.testing.assert_array_equal(taken, chunks.batch()[np.asarray(index, int if len(index) == 0 else None)])
    assert isinstance(taken, np.ndarray)


@pytest.mark.parametrize(
    "index", [[0, 20], [-21], [0.5], [True] * 19, np.ones(21, bool), [[1, 2]], ["a"], "a", 1.5, (1, 2), None]
)
def test_an_index_that_fits_no_chunk_is_refused_in_our_words(index):
    with pytest.raises(ParameterError, match=r"chunks are (indexed|taken) by a"):
        feature2chunks(numbered(40), 25)[index]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(("start", "stop"), [(0, 20), (0, 0), (3, 11), (-5, None), (15, 99), (0, None)])
def test_batch_is_the_stack_of_its_chunks(edge, start, stop):
    features = numbered(40)
    chunks = feature2chunks(features, 25, edge=edge)
    batch = chunks.batch(start, stop)
    expected = list(chunks)[start:stop]
    np.testing.assert_array_equal(batch, np.stack(expected) if expected else np.empty((0, 30, 4)))
    assert not np.shares_memory(batch, features)


def test_asarray():
    chunks = feature2chunks(numbered(40), 25)
    np.testing.assert_array_equal(np.asarray(chunks), np.stack(list(chunks)))
    assert np.asarray(chunks).shape == (20, 30, 4)
    assert np.asarray(chunks, dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match="always a copy"):
        chunks.__array__(copy=False)  # as numpy 2 calls it


@pytest.mark.parametrize("edge", EDGES)
def test_asarray_of_no_chunks(edge):
    for chunks in (feature2chunks(numbered(0), 25, edge=edge), feature2chunks(numbered(40), 25, edge=edge)[:0]):
        assert np.asarray(chunks).shape == (0, 30, 4)


@pytest.mark.parametrize("n_rows", [0, 6])
def test_zeros_are_zeros(n_rows):
    features = numbered(n_rows)
    chunks = feature2chunks(features, 25, edge="zeros", n_frames=8)
    assert len(chunks) == 8
    for rows, chunk in zip(chunks.rows, chunks, strict=True):
        assert ((rows == -1) == (chunk.reshape(10, -1) == 0).all(axis=1)).all()
        np.testing.assert_array_equal(chunk.reshape(10, 3, 4)[rows >= 0], features[rows[rows >= 0]])
    assert (features == numbered(n_rows)).all()


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4", "int16"])
def test_the_type_of_the_features_is_kept(dtype):
    chunks = feature2chunks(numbered(40, dtype=dtype), 25, edge="zeros")
    for values in (chunks[0], chunks[9], chunks.batch(0, 3), np.asarray(chunks)):
        assert values.dtype == np.dtype(dtype)


def test_a_torch_tensor_is_cut_without_a_copy():
    torch = pytest.importorskip("torch")
    tensor = torch.arange(40 * 12, dtype=torch.float32).reshape(40, 3, 4)
    chunk = feature2chunks(tensor, 25)[9]
    np.testing.assert_array_equal(chunk, tensor[14:24].reshape(30, 4).numpy())
    tensor[14, 0, 0] = -1
    assert chunk[0, 0] == -1


# --- lag


def test_lag_is_zero_inside_and_undefined_at_the_edges():
    lag = feature2chunks(numbered(40), 25).lag_ms()
    assert np.flatnonzero(np.isnan(lag)).tolist() == [0, 1, 18, 19]
    assert (lag[2:18] == 0).all()
    assert feature2chunks(numbered(0), 25).lag_ms().shape == (0,)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("context", [(2, 2), (0, 5), (0, 0)])
@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30_000, 1001), Fraction(30), Fraction(60)], ids=str)
def test_lag_is_what_exact_arithmetic_says(edge, context, fps):
    """Inside, a chunk is up to a row early, never late."""
    chunks = feature2chunks(numbered(120), float(fps), context, edge=edge)
    for frame, rows, lag in zip(chunks.frames, chunks.rows.tolist(), chunks.lag_ms(), strict=True):
        if rows[0] >= 0 and rows == list(range(rows[0], rows[0] + len(rows))):
            mean_ms = Fraction(20 * sum(rows), len(rows))
            assert lag == pytest.approx(float(mean_ms - 1000 * frame / fps - 10), abs=1e-6)
            assert context[0] != context[1] or -20 < lag < 1e-6
        else:
            assert np.isnan(lag)


def test_lag_of_a_matrix_from_elsewhere():
    shifted = chunk_rows(100, 25, edge="drop") + 4
    np.testing.assert_array_equal(row_lag_ms(shifted, 25, first_frame=2), np.full(len(shifted), 80.0))


# --- what is shown


def test_what_a_notebook_shows():
    chunks = feature2chunks(numbered(40, 5, 384), 29.97)
    assert repr(chunks) == "Chunks(23 frames at 29.97 fps, each (50, 384) float32)"
    assert chunks._repr_html_() == "<b>Chunks</b>: 23 frames at 29.97 fps, each 50 × 384 float32"
    assert "0 frames" in feature2chunks(numbered(0), 25)._repr_html_()
    assert "at 23.976 fps" in feature2chunks(numbered(40), Fraction(24000, 1001))._repr_html_()
    assert "&gt;f4" in feature2chunks(numbered(10, dtype=">f4"), 25)._repr_html_()


# --- bad input

BAD_ARGUMENTS = {
    "fps 0": ({"fps": 0}, "fps must be", "got 0"),
    "context negative": ({"context": (-1, 2)}, "context must be two", "got (-1, 2)"),
    "context of one": ({"context": (2,)}, "context must be two", "got (2,)"),
    "context of three": ({"context": (2, 2, 2)}, "context must be two", "got (2, 2, 2)"),
    "context a number": ({"context": 2}, "context must be two", "got 2"),
    "context floats": ({"context": (2.0, 2.0)}, "context must be two", "got (2.0, 2.0)"),
    "context bools": ({"context": (True, True)}, "context must be two", "got (True, True)"),
    "context text": ({"context": "22"}, "context must be two", "got '22'"),
    "context none": ({"context": None}, "context must be two", "got None"),
    "edge unknown": ({"edge": "wrap"}, "edge must be one of clamp, zeros, drop", "got 'wrap'"),
    "edge none": ({"edge": None}, "edge must be one of", "got None"),
    "n_frames negative": ({"n_frames": -1}, "n_frames must be", "got -1"),
    "n_frames float": ({"n_frames": 3.0}, "n_frames must be", "got 3.0"),
    "n_frames bool": ({"n_frames": True}, "n_frames must be", "got True"),
}


@pytest.mark.parametrize(("arguments", "expected", "got"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_bad_arguments(arguments, expected, got):
    arguments = {"fps": 25} | arguments
    for call in (lambda: chunk_rows(100, **arguments), lambda: feature2chunks(numbered(100), **arguments)):
        with pytest.raises(ParameterError) as caught:
            call()
        assert expected in str(caught.value)
        assert got in str(caught.value)


@pytest.mark.parametrize("n_rows", [-1, 100.0, "100", None, True])
def test_bad_row_counts(n_rows):
    with pytest.raises(ParameterError, match=r"n_rows must be a whole number.*got"):
        chunk_rows(n_rows, 25)


def test_counts_may_be_numpy_integers():
    rows = chunk_rows(np.int64(100), np.int32(25), np.array([2, 2]), n_frames=np.int64(7))
    np.testing.assert_array_equal(rows, chunk_rows(100, 25)[:7])


@pytest.mark.parametrize("shape", [(), (100,), (100, 384), (1, 100, 5, 384)])
def test_features_of_the_wrong_rank(shape):
    with pytest.raises(ParameterError) as caught:
        feature2chunks(np.zeros(shape, np.float32), 25)
    assert "features must be (n_rows, n_layers, width)" in str(caught.value)
    assert f"got {len(shape)} dimensions, {shape}" in str(caught.value)


def test_nothing_to_clamp_to():
    with pytest.raises(ParameterError, match=r"no rows to clamp 3 frames to.*zeros"):
        chunk_rows(0, 25, n_frames=3)
    assert chunk_rows(0, 25).shape == chunk_rows(0, 25, n_frames=0).shape == (0, 10)


@pytest.mark.parametrize(
    ("rows", "got"), [([[0, 5]], r"0 … 5"), ([[-2, 0]], r"-2 … 0"), ([0, 1], r"\(2,\)"), ([[0.5, 1.5]], "float")]
)
def test_an_index_matrix_that_does_not_fit_is_refused(rows, got):
    with pytest.raises(ParameterError, match=rf"rows.*got.*{got}"):
        Chunks(numbered(5), np.array(rows), 25)


# --- which chunks are silent


def slow_silent(rows: list[list[int]], loudness: list[float], fps: Fraction, below: float) -> list[bool]:
    """Look at every row of every chunk, and every frame that it touches, in Fractions."""
    silent = []
    for line in rows:
        touched = {
            frame
            for row in line
            if row >= 0
            for frame in range(len(loudness))
            if Fraction(frame) / fps < Fraction(2 * row + 1, 100)
            and Fraction(frame + 1) / fps > Fraction(2 * row - 1, 100)
        }
        silent.append(all(loudness[frame] < below for frame in touched))
    return silent


@given(
    st.integers(0, 60),
    RATES,
    CONTEXTS,
    st.sampled_from(EDGES),
    st.lists(st.sampled_from([-120, -50, -49]), max_size=40),
)
def test_silent_chunks_are_those_of_a_loop(n_rows, rate, context, edge, loudness):
    fps, exact = rate
    if edge == "clamp" and not n_rows:
        return
    chunks = feature2chunks(numbered(n_rows), fps, context, edge=edge, n_frames=min(30, int(n_rows * exact // 50)))
    found = chunks.silent(np.array(loudness, np.float32), below_dbfs=-50)
    assert found.tolist() == slow_silent(chunks.rows.tolist(), loudness, exact, -50)


def test_a_measured_rate_of_many_digits_makes_no_loud_chunk_silent():
    """1998 frames in 79.93 s: a fraction of 17 digits, whose products with rows leave 64 bits after half a minute."""
    chunks = feature2chunks(np.zeros((4000, 1, 1), np.float32), 1998 / 79.93)
    assert not chunks.silent(np.zeros(len(chunks))).any()


def test_a_pause_makes_fewer_chunks_silent_than_frames():
    """A chunk reaches 90 ms before its frame and 110 after its start: a pause of 15 frames leaves 15 - 5 silent."""
    loudness = np.full(100, -20.0)
    loudness[40:55] = -80
    silent = feature2chunks(numbered(200), 25).silent(loudness)
    assert np.flatnonzero(silent).tolist() == list(range(43, 53))
    assert not feature2chunks(numbered(200), 25).silent(loudness, below_dbfs=-80).any()


def test_rows_of_zeros_are_silent():
    chunks = Chunks(numbered(5), np.array([[-1, -1], [-1, 0], [3, 4]]), 25)
    assert chunks.silent(np.full(3, 0.0)).tolist() == [True, False, False]
    assert chunks.silent(np.empty(0)).all()


@pytest.mark.parametrize("loudness", [[[0.0]], 3.0, ["loud"], [float("nan")]])
def test_what_is_no_loudness_is_refused(loudness):
    with pytest.raises(ParameterError, match="loudness_dbfs"):
        feature2chunks(numbered(50), 25).silent(loudness)


def test_what_would_not_fit_in_memory_is_refused():
    for made in (
        lambda: chunk_rows(10, 25, n_frames=2**62),
        lambda: chunk_rows(10, 25, (10**6, 0)),
        lambda: chunk_rows(10**12, 25),
        lambda: RECIPES["latentsync"].chunk_rows(10**15, 25),
    ):
        with pytest.raises(ParameterError, match=r"index matrix|context must|at most 2\^53"):
            made()


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("n_samples", [None, -1, float("nan"), 16000.0, "16000"])
def test_a_length_is_a_whole_number(recipe, n_samples):
    with pytest.raises(ParameterError, match="n_samples must be a whole number"):
        RECIPES[recipe].chunk_rows(n_samples, 25)


def test_features_of_a_ragged_list_and_a_first_frame_of_text():
    with pytest.raises(ParameterError, match="features must be"):
        feature2chunks([[1], [1, 2]], 25)
    with pytest.raises(ParameterError, match="first_frame"):
        Chunks(np.zeros((9, 1, 1)), np.zeros((1, 2), int), 25, first_frame="0")
