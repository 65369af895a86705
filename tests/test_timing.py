"""Frame rates as fractions, and counts in integer arithmetic."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from musetools import RECIPES, chunk_rows, loudness
from musetools.errors import ParameterError
from musetools.timing import SAMPLE_RATE, exact_fps, frame_count, frame_start

NTSC = {
    23.976: Fraction(24000, 1001),
    23.98: Fraction(24000, 1001),
    29.97: Fraction(30000, 1001),
    47.952: Fraction(48000, 1001),
    59.94: Fraction(60000, 1001),
    119.88: Fraction(120000, 1001),
}
RATES = st.fractions(min_value=1, max_value=120, max_denominator=2000)


@pytest.mark.parametrize(("written", "meant"), NTSC.items())
def test_a_float_near_an_ntsc_rate_is_that_rate(written, meant):
    assert exact_fps(written) == meant
    assert exact_fps(float(meant)) == meant


@pytest.mark.parametrize("written", ["24.97", "29.98", "29.964", "25.0", "24.0", "23.97", "12.5", "59.95", "1.1"])
def test_another_float_is_its_decimal_value(written):
    assert exact_fps(float(written)) == Fraction(written)


@given(st.floats(1, 130).filter(lambda fps: min(abs(fps - rate) for rate in NTSC.values()) > 0.006))
def test_no_float_away_from_ntsc_is_bent(fps):
    assert exact_fps(fps) == Fraction(repr(fps))


@given(st.sampled_from(list(NTSC.values())), st.floats(-0.0049, 0.0049))
def test_every_float_close_to_ntsc_is_taken_for_it(rate, error):
    assert exact_fps(float(rate) + error) == rate


@pytest.mark.parametrize(
    ("fps", "meant"),
    [
        (25, 25),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (Fraction("29.97"), Fraction(2997, 100)),  # who writes a fraction means it
        (Decimal("24.97"), Fraction(2497, 100)),
        (np.int64(30), 30),
        (np.uint8(60), 60),
        (np.float64(29.97), Fraction(30000, 1001)),
        (np.float32(29.97), Fraction(30000, 1001)),
        (np.float32(24.97), Fraction(2497, 100)),
        (np.float16(12.5), Fraction(25, 2)),
    ],
    ids=repr,
)
def test_every_number_type_is_taken(fps, meant):
    exact = exact_fps(fps)
    assert exact == meant
    assert type(exact) is Fraction


@pytest.mark.parametrize(
    "fps",
    [
        *(0, 0.0, -25, -0.5, math.nan, math.inf, -math.inf, "25", "30000/1001", b"25", None, True, np.True_),
        *(25j, [25], np.array([25.0]), Fraction(0), Decimal(0), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")),
        *(0.999, 1000.1, 5e-324, Fraction(1, 2), 10**400, Decimal("1e-400")),
    ],
    ids=repr,
)
def test_what_is_no_rate_is_refused(fps):
    with pytest.raises(ParameterError, match=r"fps must be a number.*1 … 1000.*got") as caught:
        exact_fps(fps)
    assert repr(fps)[:60] in str(caught.value)


@given(st.integers(0, 10**10), RATES)
def test_frame_count_is_the_floor_of_the_exact_product(n_samples, fps):
    n_frames = frame_count(n_samples, fps)
    assert Fraction(n_frames) / fps <= Fraction(n_samples, SAMPLE_RATE) < Fraction(n_frames + 1) / fps


@pytest.mark.parametrize(("n_samples", "fps", "n_frames"), [(18560, 25, 29), (9280, 50, 29), (16016, 29.97, 30)])
def test_frame_count_where_floats_lose_one(n_samples, fps, n_frames):  # defect K10 of the published pipelines
    assert frame_count(n_samples, fps) == n_frames
    assert frame_count(np.int64(n_samples), fps) == n_frames


@given(st.integers(0, 300), RATES | st.fractions(1, 130), st.sampled_from([50, SAMPLE_RATE, 44100]))
@example(0, Fraction(614880295828214663, 307440147914095815), 50)  # frames or none, the step itself is beyond int64
@example(1, Fraction(614880295828214663, 307440147914095815), 50)
@example(1, Fraction(100 * 2**60 + 1, 2**60), 50)  # its denominator alone is
@example(300, Fraction(100 * 2**60 + 1, 2**60), 50)
def test_frame_starts_are_the_floors_of_the_exact_times(n_frames, fps, rate):
    frames = range(n_frames // 3, n_frames)
    starts = frame_start(frames, fps, rate)
    assert starts.dtype == np.int64
    assert starts.tolist() == [i * rate * fps.denominator // fps.numerator for i in frames]


def test_frame_starts_of_an_odd_rate_do_not_overflow():
    fps = Fraction(10**16 + 1, 4 * 10**14)  # 25 fps and a little, as a measured rate may be
    starts = frame_start(range(10_001), fps, SAMPLE_RATE)
    assert starts[-1] == math.floor(10_000 * SAMPLE_RATE / fps)
    assert (np.diff(starts) >= 639).all()


# --- numpy's small integers


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32])
def test_small_integers_do_not_overflow(kind):
    assert exact_fps(kind(25)) == 25
    assert type(exact_fps(kind(25)).numerator) is int
    assert frame_count(115_200_000, kind(25)) == 180_000
    assert frame_count(np.int32(115_200_000), 25) == 180_000
    np.testing.assert_array_equal(frame_start(range(180_000)[-3:], kind(25), 16_000), np.arange(179_997, 180_000) * 640)
    np.testing.assert_array_equal(chunk_rows(3000, kind(25), (kind(2), kind(2))), chunk_rows(3000, 25))
    assert len(loudness(np.zeros(64_000, np.float32), kind(25))) == 100
    recipe = RECIPES["musetalk-v1-train"]
    np.testing.assert_array_equal(recipe.chunk_rows(480_000, 25, (kind(2), kind(2))), recipe.chunk_rows(480_000, 25))
