"""Windows that slide: the rows they keep, whatever pieces the samples come in, and no more kept than needed."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import speech, windows_by_hand

from musetools import EncoderWindow, FeatureSpec, ParameterError, audio2feat
from musetools.features.windows import MelWindows

LIVE = EncoderWindow(2, 0.2, 0.2, None)
LIVE_IN_PLACE = EncoderWindow(2, 0.2, 0.2, None, positions="clip")
SHORT = EncoderWindow(0.4, 0.2, 0.1, 1)  # many windows in little audio
ROW = 320


# --- windows cut by hand


@pytest.mark.parametrize("seconds", [24.99, 46.5])
@pytest.mark.parametrize(("padding", "peak"), [("audio", "window"), ("mel", "file"), ("mel", "window")])
@pytest.mark.parametrize("positions", ["window", "clip"])
def test_overlapped_windows_equal_those_cut_by_hand(seconds, padding, peak, positions, small, weights):
    waveform, window = speech(int(16_000 * seconds)), EncoderWindow(5, 20, 5, 30, positions=positions)
    spec = FeatureSpec(mel_peak=peak, padding=padding, window=window)
    got = audio2feat((waveform, 16_000), small, spec=spec)
    assert len(got) == len(waveform) // ROW
    np.testing.assert_allclose(got, windows_by_hand(waveform, weights, spec), rtol=0, atol=2e-5)


@pytest.mark.parametrize("n_samples", [400, 639, 640, 3519, 9600, 77_777])
@pytest.mark.parametrize(("padding", "peak"), [("audio", "window"), ("mel", "file"), ("mel", "window")])
@pytest.mark.parametrize("window", [LIVE, LIVE_IN_PLACE], ids=["window", "clip"])
def test_live_windows_equal_those_cut_by_hand(n_samples, padding, peak, window, small, weights):
    waveform = speech(40_000 + n_samples)[40_000:]
    spec = FeatureSpec(mel_peak=peak, padding=padding, window=window)
    got = audio2feat((waveform, 16_000), small, spec=spec)
    assert len(got) == n_samples // ROW
    np.testing.assert_allclose(got, windows_by_hand(waveform, weights, spec), rtol=0, atol=2e-5)


def test_positions_matter_once_the_window_moves(small):
    """In the first window both count from 0; in the second, rows 12 … 21 do so only in "clip"."""
    audio = (speech(80_000), 16_000)
    window, clip = (audio2feat(audio, small, spec=FeatureSpec(window=w)) for w in (LIVE, LIVE_IN_PLACE))
    np.testing.assert_array_equal(window[:110], clip[:110])  # all these windows start with the clip
    assert np.abs(window[110:] - clip[110:]).max() > 0.1


# --- pieces


def _windows(waveform: np.ndarray, cuts: list[int], window: EncoderWindow, padding: str) -> list:
    loop, out = MelWindows(FeatureSpec(window=window, padding=padding), 80), []
    for piece in np.split(waveform, sorted(cuts)):
        out += loop.push(piece)
    return out + loop.flush()


@given(
    n_samples=st.integers(400, 30_000),
    cuts=st.lists(st.integers(0, 30_000), max_size=30),
    window=st.sampled_from([SHORT, EncoderWindow(0, 0.1, 0, 0.5), EncoderWindow(0.3, 0.02, 0.04, None)]),
    padding=st.sampled_from(["audio", "mel"]),
)
@settings(max_examples=80)
def test_windows_do_not_depend_on_the_pieces(n_samples, cuts, window, padding):
    waveform = speech(40_000 + n_samples)[40_000:]
    whole = _windows(waveform, [], window, padding)
    pieces = _windows(waveform, [min(cut, n_samples) for cut in cuts], window, padding)
    assert [(w.first_row, w.skip, w.keep) for w in pieces] == [(w.first_row, w.skip, w.keep) for w in whole]
    assert all(torch.equal(a.log_mel, b.log_mel) for a, b in zip(pieces, whole, strict=True))
    rows = [row for w in whole for row in range(w.first_row + w.skip, w.first_row + w.skip + w.keep)]
    assert rows == list(range(n_samples // ROW))


@pytest.mark.parametrize("padding", ["audio", "mel"])
@pytest.mark.parametrize(
    "window", [EncoderWindow(), EncoderWindow(5, 20, 5, 30), LIVE, SHORT], ids=["upstream", "overlap", "live", "short"]
)
def test_the_buffer_holds_one_window_and_the_last_piece(window, padding):
    loop, piece = MelWindows(FeatureSpec(window=window, padding=padding), 80), speech(5_000)
    reach = 2 * 200 if padding == "mel" else 0  # half an FFT either side
    for _ in range(250):
        loop.push(piece)
        held = (window.left + window.hop + window.right) * ROW + reach + len(piece)
        assert len(loop._samples._memory) <= 2 * held


@pytest.mark.parametrize(("padding", "reach"), [("audio", 0), ("mel", 40)])
def test_a_window_comes_as_soon_as_its_samples_are_there(padding, reach):
    loop, needed = MelWindows(FeatureSpec(window=LIVE, padding=padding), 80), (10 + 10) * ROW + reach
    waveform = speech(needed + 10 * ROW)
    assert not loop.push(waveform[: needed - 1])
    assert len(loop.push(waveform[needed - 1 : needed])) == 1
    assert not loop.push(waveform[needed:-1])
    assert len(loop.push(waveform[-1:])) == 1


@pytest.mark.parametrize("padding", ["audio", "mel"])
@pytest.mark.parametrize("keep_padding", [False, True])
def test_the_last_window_may_keep_its_fill(padding, keep_padding):
    loop = MelWindows(FeatureSpec(window=SHORT, padding=padding, keep_padding=keep_padding), 80)
    windows = loop.push(speech(33 * ROW + 7)) + loop.flush()
    more = keep_padding and padding == "audio"  # a hop of padding alone
    assert [w.keep for w in windows] == [10, 10, 10, 10 if keep_padding else 3] + [10] * more
    assert [w.skip for w in windows] == [0, 10, 20, 20] + [20] * more


# --- validation


@pytest.mark.parametrize("name", ["left_s", "hop_s", "right_s", "pad_to_s"])
@pytest.mark.parametrize("value", [-0.02, 0.01, 0.021, 1 / 3, float("nan"), float("inf"), "1", [1], True])
def test_lengths_that_are_no_rows_are_refused(name, value):
    with pytest.raises(ParameterError, match=name):
        EncoderWindow(**{"hop_s": 1, name: value})


@pytest.mark.parametrize(
    "lengths",
    [(0, 0, 0), (0, 30.02, 0), (5, 20, 5.02), (5, 20, 5, 29), (0, 1, 0, 0.98), (0, 1, 0, 30.02), (30, 0.02, 0, None)],
)
def test_windows_that_cannot_be_are_refused(lengths):
    with pytest.raises(ParameterError, match="sees at most pad_to_s"):
        EncoderWindow(*lengths)


def test_filling_to_nothing_is_refused():
    """0 is no other name for None: a window of a second does not fit into no seconds."""
    with pytest.raises(ParameterError):
        EncoderWindow(0, 1, 0, 0)


@pytest.mark.parametrize("positions", ["file", "", None, 0])
def test_unknown_positions_are_refused(positions):
    with pytest.raises(ParameterError, match="window, clip"):
        EncoderWindow(positions=positions)


def test_lengths_are_exact_in_rows():
    """0.58 s is 28.999999999999996 rows in floating point."""
    for n in range(1, 1501):
        assert EncoderWindow(hop_s=n / 50).hop == n
    window = EncoderWindow(2, 0.2, 0.2, None)
    assert (window.left, window.hop, window.right) == (100, 10, 10)


@pytest.mark.parametrize("number", [np.float64(0.2), np.float32(0.5), np.int64(1), Fraction(1, 5)])
def test_numbers_of_other_kinds_will_do(number):
    assert EncoderWindow(hop_s=number).hop == round(50 * float(number))


def test_windows_are_values():
    assert EncoderWindow() == EncoderWindow(0, 30, 0, 30, positions="window")
    assert hash(LIVE) == hash(EncoderWindow(2, 0.2, 0.2, None))
    assert LIVE != LIVE_IN_PLACE
    with pytest.raises(FrozenInstanceError):
        LIVE.hop_s = 1
