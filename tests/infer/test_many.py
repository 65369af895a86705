"""Many streams in one batch: each gets what it would get alone, and one that fails fails alone."""

from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
from oracles import speech
from streams import QUICK, RATE

from musetools import AudioError, ChunkStream, EncoderWindow, FeatureSpec, ParameterError, StreamError, push_many
from musetools.features import extract

pytestmark = pytest.mark.usefixtures("one_thread")

FPS = (25, 29.97, 24, 50, 12.5)
RATES = (RATE, 48_000, RATE, 8_000, RATE)
SPECS = {"clip": QUICK, "window": EncoderWindow(0.4, 0.2, 0.1, 1.0, positions="window")}


def streams(encoder, window=QUICK, n=5) -> list[ChunkStream]:
    made = [ChunkStream(encoder, fps, window=window, sample_rate=rate) for fps, rate in zip(FPS, RATES, strict=True)]
    return made[:n]


def sounds() -> list[np.ndarray]:
    return [speech(2 * rate)[:: 1 if i % 2 else -1].copy() for i, rate in enumerate(RATES)]


@pytest.mark.parametrize("window", SPECS.values(), ids=SPECS)
def test_each_stream_gets_what_it_gets_alone(small, window):
    """One of them started earlier, so that rows have other positions in one batch."""
    together, alone, pcm = streams(small, window), streams(small, window), sounds()
    early = speech(RATE)
    got, expected = ([[*each[2].push(early)] if i == 2 else [] for i in range(5)] for each in (together, alone))
    for step in range(10):
        blocks = [one[step * rate // 5 : (step + 1) * rate // 5] for one, rate in zip(pcm, RATES, strict=True)]
        for mine, live in zip(got, push_many(together, blocks), strict=True):
            mine += live
        for mine, stream, block in zip(expected, alone, blocks, strict=True):
            mine += stream.push(block)
    for mine, theirs, a, b in zip(got, expected, together, alone, strict=True):
        mine, theirs = mine + a.flush(), theirs + b.flush()
        assert [(x.frame, x.time_s, x.loudness) for x in mine] == [(x.frame, x.time_s, x.loudness) for x in theirs]
        np.testing.assert_allclose([x.chunk for x in mine], [x.chunk for x in theirs], rtol=0, atol=1e-5)
        assert a.compute.steps == b.compute.steps
        assert a.compute.audio_s == b.compute.audio_s


def test_windows_of_one_length_are_encoded_at_once(small, monkeypatch):
    sizes, encode = [], small.hidden_states
    monkeypatch.setattr(small, "hidden_states", lambda mel, **how: sizes.append(len(mel)) or encode(mel, **how))
    every = [ChunkStream(small, 25, window=QUICK) for _ in range(8)]
    push_many(every, [speech(RATE)] * 8)
    assert sizes == [8, 8, 16]  # two windows with less context at the start, then two of each stream


def test_a_batch_is_no_larger_than_memory_allows(small, monkeypatch):
    sizes, encode, pcm = [], small.hidden_states, [speech(RATE)] * 8
    expected = push_many([ChunkStream(small, 25, window=QUICK) for _ in range(8)], pcm)
    monkeypatch.setattr(small, "hidden_states", lambda mel, **how: sizes.append(mel.numel()) or encode(mel, **how))
    monkeypatch.setattr(extract, "BATCH_BYTES", 3 * 35 * 4 * small.n_layers * small.width)  # 3 windows of 0.7 s
    got = push_many([ChunkStream(small, 25, window=QUICK) for _ in range(8)], pcm)
    assert max(sizes) == 3 * 70 * small.n_mels
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose([x.chunk for x in mine], [x.chunk for x in theirs], rtol=0, atol=1e-5)


def test_a_bad_block_is_the_error_of_its_stream_alone(small):
    together, alone, block = streams(small, n=3), streams(small, n=3), speech(RATE)
    bad = [block, np.full(100, np.nan, np.float32), "no PCM"]
    first, wrong, refused = push_many(together, bad)
    assert isinstance(wrong, AudioError)
    assert "not finite" in str(wrong)
    assert isinstance(refused, ParameterError)
    np.testing.assert_allclose([x.chunk for x in first], [x.chunk for x in alone[0].push(block)], rtol=0, atol=1e-5)
    again = push_many(together, [block, block[:0], block])
    assert isinstance(again[1], StreamError)  # it waits for reset
    assert [live.frame for live in again[2]] == [live.frame for live in alone[2].push(block)]  # nothing was taken


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda some, blocks: (some, blocks[:1]), "2 different streams, 1 blocks"),
        (lambda some, blocks: (some[:1] * 2, blocks), "1 different streams, 2 blocks"),
        (lambda some, blocks: ([some[0], ChunkStream(some[0].encoder, 25)], blocks), "one encoder and one spec"),
    ],
)
def test_what_is_no_batch_is_refused(small, change, message):
    some, blocks = change(streams(small, n=2), sounds()[:2])
    with pytest.raises(ParameterError, match=message):
        push_many(some, blocks)


def test_no_streams_and_nothing_complete(small):
    assert push_many([], []) == []
    assert push_many(streams(small), [np.zeros(0, np.float32)] * 5) == [[]] * 5


def test_specs_that_are_equal_are_one(small):
    spec = FeatureSpec(window=QUICK)
    some = [ChunkStream(small, 25, window=one) for one in (spec, replace(spec))]
    assert [len(live) for live in push_many(some, [speech(RATE)] * 2)] == [18, 18]


def test_two_threads_that_name_the_same_streams_in_another_order(small):
    both, block, came = streams(small, n=2), [sound[:400] for sound in sounds()[:2]], ([], [])

    def push(order):
        for _ in range(200):
            for i, live in zip(order, push_many([both[i] for i in order], [block[i] for i in order]), strict=True):
                came[i].extend(frame for frame, _ in live)

    threads = [Thread(target=push, args=(order,), daemon=True) for order in ((0, 1), (1, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    for frames, stream in zip(came, both, strict=True):
        frames += [frame for frame, _ in stream.flush()]
        assert sorted(frames) == list(range(len(frames)))
        assert len(frames) > 90
