"""The public calls with anything: arrays of any type and shape, numbers of any size, chunkers that do what they like.

Most of what is drawn is as it should be, so that a case does not end at its first argument.
"""

from fractions import Fraction

import numpy as np
import pytest
from fuzz import HUGE, ODD, fuzz, judged
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

import musetools as mt
from musetools.chunks.rows import ZERO_ROW

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
KINDS = st.sampled_from(["f4", "f8", "f2", ">f4", "i2", "i4", "i8", "u1", "?", "c8", "O", "U3", "M8[s]", "V3"])
SIDES = st.integers(0, 3) | st.sampled_from([16, 200, 400, 3000])
PLAIN = st.sampled_from([None, b"\x00\x01", "text", [], [[1], [1, 2]], {}, 3, 2.5, np.float32(1), np.ma.masked])


def mostly(usual, *odd):
    """Draw what is usual three times of four, else something odd."""
    return st.integers(0, 3).flatmap(lambda k: st.one_of(*odd) if k == 3 else usual)


RATES = mostly(
    st.sampled_from([25, 30, 29.97, Fraction(30000, 1001), 23.976, 60, 1, 1000, np.int16(25), np.float32(30)]),
    *(HUGE, st.floats(), ODD, st.none()),
)
COUNTS = mostly(st.integers(0, 400), HUGE, st.none(), ODD)
CONTEXTS = mostly(
    st.sampled_from([(2, 2), (0, 0), (0, 5), [1, 2], (np.int8(2), np.int8(2))]), st.tuples(COUNTS, COUNTS), PLAIN
)


@st.composite
def arrays(draw, dims: int = 3):
    """An array of any kind, with values from silence to what no sound has; or something else."""
    kind = draw(KINDS)
    shape = tuple(draw(st.lists(SIDES, max_size=dims)))
    if int(np.prod(shape)) > 200_000:
        shape = shape[:1]
    if kind in ("O", "U3", "M8[s]", "V3"):
        return np.zeros(shape, kind)
    scale = draw(st.sampled_from([0, 1e-30, 0.3, 1.0, 1e4, 1e30, 1e300]))
    with np.errstate(all="ignore"):
        made = np.asarray(np.random.default_rng(draw(st.integers(0, 9))).standard_normal(shape) * scale)
        made = np.asarray(made.astype(kind))
        if made.size and draw(st.booleans()) and made.dtype.kind == "f":
            made.flat[draw(st.integers(0, made.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 2e38]))
    return made[..., ::-1] if draw(st.booleans()) and made.ndim else made


ANYTHING = arrays() | PLAIN
FEATURES = mostly(st.integers(0, 60).map(lambda n: np.ones((n, 2, 8), np.float32)), ANYTHING)
MATRICES = mostly(of_numpy.arrays("i8", (6, 10), elements=st.integers(-1, 60)), ANYTHING)
SOUNDS = mostly(st.integers(0, 9000).map(lambda n: np.sin(np.arange(n), dtype=np.float32) / 3), arrays(2), PLAIN)


def plain_rows(n_rows: int, fps, context, edge: str, n_frames: int | None) -> list[list[int]]:
    """The equation of `chunk_rows`, frame by frame."""
    made = []
    for i in range(int(n_rows * fps // 50) if n_frames is None else n_frames):
        rows = [int(50 * i // fps) - 2 * context[0] + j for j in range(2 * (sum(context) + 1))]
        inside = [0 <= row < n_rows for row in rows]
        if edge == "clamp":
            made.append([min(max(row, 0), n_rows - 1) for row in rows])
        elif edge == "zeros":
            made.append([row if ok else ZERO_ROW for row, ok in zip(rows, inside, strict=True)])
        elif all(inside):
            made.append(rows)
    return made


@fuzz(200)
def test_chunks(data):
    """Index matrices and chunks of any arguments; those of whole rates against a slow loop."""
    n_rows, fps, context, n_frames = (data.draw(s) for s in (COUNTS, RATES, CONTEXTS, COUNTS))
    edge = data.draw(mostly(st.sampled_from(["clamp", "zeros", "drop"]), ODD))
    with judged("chunk_rows"):
        rows = mt.chunk_rows(n_rows, fps, context, edge=edge, n_frames=n_frames)
        assert rows.dtype == np.int64
        assert rows.ndim == 2
        assert rows.size == 0 or (rows.min() >= -1 and rows.max() < max(n_rows, 1))
        if type(fps) in (int, Fraction) and len(rows) < 500:
            expected = plain_rows(int(n_rows), fps, tuple(map(int, context)), edge, n_frames)
            assert rows.tolist() == expected
    features = data.draw(FEATURES)
    with judged("feature2chunks"):
        chunks = mt.feature2chunks(features, fps, context, edge=edge, n_frames=n_frames)
        assert repr(chunks)
        assert len(chunks) == len(chunks.rows)
        if len(chunks):
            assert np.asarray(chunks[-1]).shape == np.asarray(chunks[0]).shape


@fuzz(80)
def test_audio(data, small):
    """Sound as an array: what is taken is finite mono; rows of it too, as many as its length says."""
    given = data.draw(SOUNDS), data.draw(mostly(st.sampled_from([16000, 8000, 44100, 48000]), HUGE, ODD))
    decoder = data.draw(mostly(st.sampled_from(["timeline", "ffmpeg", "librosa"]), ODD))
    with judged("load_audio"):
        sound = mt.load_audio(given, decoder=decoder)
        assert sound.dtype == np.float32
        assert sound.ndim == 1
        assert np.isfinite(sound).all()
        if given[1] == 16000 and np.ndim(given[0]) == 1:
            assert len(sound) == len(given[0])
    spec = data.draw(mostly(st.sampled_from(["musetools", "musetalk-v1", "musetalk-v1.5"]), ODD))
    with judged("audio2feat"):
        rows = mt.audio2feat(given, small, spec=spec)
        assert rows.shape[1:] == (small.n_layers, small.width)
        assert np.isfinite(rows).all()


@fuzz(60)
def test_stream(data, small):
    """A live stream of blocks of anything: chunks are finite, frames follow each other, an error does not end it."""
    with judged("stream"):
        fps = data.draw(RATES)
        rate = data.draw(st.sampled_from([16000, 48000, 1]))
        stream = mt.ChunkStream(small, fps, window="live-low", sample_rate=rate)
        frames = []
        for block in data.draw(st.lists(SOUNDS, max_size=6)):
            with judged("push"):
                pushed = stream.push(block)
                assert all(np.isfinite(chunk).all() for _, chunk in pushed)
                frames += [frame for frame, _ in pushed]
        frames += [frame for frame, _ in stream.flush()]
        assert frames == list(range(len(frames)))


@fuzz(80)
def test_traces(data):
    """Chunkers that return anything, matrices of anything, recipes of any name: errors of ours, or an answer."""
    answer = data.draw(ANYTHING | st.lists(arrays(2), max_size=3))
    with judged("trace_rows"):
        traced = mt.trace_rows(data.draw(st.sampled_from([lambda _: answer, lambda f: f[::-1], lambda f: list(f)])), 40)
        assert repr(traced)
    with judged("identify_rows"):
        assert repr(
            mt.identify_rows(data.draw(of_numpy.arrays("i8", (6, 10), elements=st.integers(-1, 60)) | ANYTHING), 25)
        )
    with judged("window_lag"):
        assert repr(mt.window_lag(data.draw(MATRICES), data.draw(RATES)))
    name = mostly(st.sampled_from(sorted(mt.RECIPES)), ODD)
    with judged("recipe"):
        recipe = mt.RECIPES[data.draw(st.sampled_from(sorted(mt.RECIPES)))]
        rows = recipe.chunk_rows(data.draw(COUNTS), data.draw(RATES), data.draw(CONTEXTS))
        assert rows.dtype.kind == "i"
    with judged("compare"):
        assert repr(mt.compare(data.draw(name), data.draw(name), fps=data.draw(RATES)))


# --- what was found

RAGGED = [[1], [1, 2]]
FOUND = {
    "a ragged matrix": lambda: mt.window_lag(RAGGED, 25),
    "a matrix of one dimension": lambda: mt.window_lag(b"\x00\x01", 25),
    "a matrix without a type": lambda: mt.window_lag(np.zeros(0, "V3"), 25),
    "rows that no clip has": lambda: mt.window_lag(np.full((6, 10), 2**62), 25),
    "a ragged matrix to identify": lambda: mt.identify_rows(RAGGED, 25),
    "a chunker that returns nothing": lambda: mt.trace_rows(lambda _: None, 40),
    "a chunker that returns objects": lambda: mt.trace_rows(lambda _: np.zeros(1, object), 40),
    "a chunker that returns texts": lambda: mt.trace_rows(lambda _: np.zeros((1, 50, 384), "U3"), 40),
    "samples beyond any float": lambda: mt.RECIPES["latentsync"].chunk_rows(10**400, 25),
    "features without a type": lambda: mt.feature2chunks(np.zeros((1, 0, 0), "V3"), 25, n_frames=1),
    "ragged sound": lambda: mt.load_audio((RAGGED, 16000)),
}


@pytest.mark.parametrize("call", FOUND.values(), ids=FOUND)
def test_found(call):
    with pytest.raises(mt.MusetoolsError):
        call()


def test_a_matrix_that_no_recipe_gives():
    found = mt.identify_rows(np.full((6, 10), -(2**31)), 25)
    assert not found
    assert "no known recipe" in repr(found)
