"""What a live stream is fed: other rates, bad blocks, sources that stall, raise, end early or are asynchronous."""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import speech
from streams import (
    QUICK,
    RATE,
    FailingTeller,
    RowTeller,
    SlowTeller,
    assert_equals_offline,
    assert_same,
    in_pieces,
    offline,
    pushed,
    told,
)

from musetools import AudioError, ChunkStream, EncoderWindow, FeatureSpec, ParameterError, StreamError, load_audio
from musetools.infer.pcm import PcmInput

DECODERS = ["ffmpeg", "librosa"]
RATES = [8_000, 22_050, 44_100, 48_000]
WAVEFORM = speech(2 * RATE)
STALL_S = 0.15


pytestmark = pytest.mark.usefixtures("one_thread")


def blocks_of(pcm: np.ndarray = WAVEFORM, size: int = 1000) -> list[np.ndarray]:
    return list(in_pieces(pcm, [size] * (len(pcm) // size)))


def quick(**how) -> ChunkStream:
    return ChunkStream(RowTeller(), 25, window=QUICK, **how)


EXPECTED = pushed(quick(), WAVEFORM)


# --- other rates


def at_rate(rate: int, seconds: float) -> np.ndarray:
    """A waveform of another rate; how it sounds does not matter."""
    return speech(80_000)[-int(seconds * rate) :]


@given(
    rate=st.sampled_from(RATES),
    decoder=st.sampled_from(DECODERS),
    dtype=st.sampled_from(["int16", "float32", "float64"]),
    sizes=st.lists(st.one_of(st.sampled_from([1, 2, 7, 441, 480, 960]), st.integers(1, 40_000)), max_size=40),
    seconds=st.sampled_from([0.3, 0.71, 1.5]),
)
@settings(max_examples=60)
def test_other_rates_do_not_depend_on_the_pushes(rate, decoder, dtype, sizes, seconds):
    pcm = at_rate(rate, seconds)
    pcm = np.rint(32767 * pcm).astype(np.int16) if dtype == "int16" else pcm.astype(dtype)
    spec = FeatureSpec(decoder=decoder, window=QUICK)
    stream = ChunkStream(RowTeller(), 25, window=spec, sample_rate=rate)
    whole = pushed(stream, pcm)
    stream.reset()
    assert_same(pushed(stream, pcm, sizes), whole)
    assert_equals_offline(whole, offline(pcm, RowTeller(), spec, 25, rate=rate))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("rate", [*RATES, 11_025, 96_000])
def test_the_waveform_is_that_of_load_audio_to_the_bit(rate, decoder):
    pcm = at_rate(rate, 0.2)
    expected = load_audio((pcm, rate), decoder=decoder)
    for size in (1, 160, len(pcm)):
        source = PcmInput(rate, decoder, "error")
        got = [source.push(block) for block in in_pieces(pcm, [size] * (len(pcm) // size))]
        np.testing.assert_array_equal(np.concatenate([*got, source.flush()]), expected)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_with_an_encoder(rate, decoder, small):
    pcm, spec = at_rate(rate, 1.5), FeatureSpec(decoder=decoder, window=QUICK)
    live = pushed(ChunkStream(small, 30, window=spec, sample_rate=rate), pcm, [rate // 50] * 70)
    assert_equals_offline(live, offline(pcm, small, spec, 30, rate=rate))


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_resampler_adds_no_more_than_a_few_milliseconds(decoder):
    rate, spec = 48_000, FeatureSpec(decoder=decoder, window=QUICK)
    stream = ChunkStream(RowTeller(), 25, window=spec, sample_rate=rate)
    waits = []
    for i, block in enumerate(blocks_of(np.zeros(3 * rate, np.float32), 48), start=1):
        waits += [i * 0.001 - live.time_s for live in stream.push(block)]
    assert len(waits) > 60
    assert max(waits) < stream.latency_s + 0.05


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_resampled_stream_starts_anew(decoder):
    spec, pcm = FeatureSpec(decoder=decoder, window=QUICK), at_rate(44_100, 1)
    stream = ChunkStream(RowTeller(), 25, window=spec, sample_rate=44_100)
    first = pushed(stream, pcm)
    stream.reset()
    stream.push(pcm[:5_000])
    stream.reset()
    assert_same(pushed(stream, pcm, [441] * 100), first)


# --- arguments


BAD_ARGUMENTS = {
    "sample_rate": (
        [0, -1, 16_000.5, 16_000.0, "16000", True, None, float("nan"), 10**9],
        "whole number of Hz, 2000 …",
    ),
    "fps": ([0, -25, float("nan"), float("inf"), "25", None, True, 1j], "number of frames per second, 1 … 1000"),
    "context": ([(2,), (2, 2, 2), 2, (-1, 2), (2, 2.5), "22", None], "two whole numbers"),
    "window": (
        ["lively", "", None, 0.2, (5, 0.3, 0.2, None)],
        "a FeatureSpec or one of .*live-low, live, live-near, live-exact",
    ),
    "edge": (["repeat", "", None, 0], "one of clamp, zeros, drop"),
    "non_finite": (["zero", "", None, 0], "one of error, silence"),
}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [(name, value, expected) for name, (values, expected) in BAD_ARGUMENTS.items() for value in values],
)
def test_a_bad_argument_is_refused(name, value, expected):
    with pytest.raises(ParameterError, match=f"must be {'a ' * (name in ('fps', 'sample_rate'))}{expected}.*got"):
        ChunkStream(RowTeller(), **{"fps": 25, "window": QUICK, name: value})


@pytest.mark.parametrize("window", ["musetalk-v1", FeatureSpec(mel_peak="file", window=QUICK)])
def test_a_spec_that_needs_the_whole_file_is_refused(window):
    with pytest.raises(ParameterError, match=r"whole file's peak.*mel_peak='window'.*got"):
        ChunkStream(RowTeller(), 25, window=window)


def test_arguments_are_refused_before_weights_are_loaded():
    for how in ({"fps": 0}, {"edge": "no"}, {"sample_rate": 0}, {"non_finite": "no"}, {"window": "no"}):
        with pytest.raises(ParameterError):
            ChunkStream("/nowhere/weights.pt", **{"fps": 25, **how})


# --- blocks

WRONG = {
    "int32": np.zeros(100, np.int32),
    "uint8": np.zeros(100, np.uint8),
    "int8": np.zeros(100, np.int8),
    "uint16": np.zeros(100, np.uint16),
    "complex": np.zeros(100, complex),
    "bool": np.zeros(100, bool),
    "text": "RIFF",
    "texts": np.array(["0.1"]),
    "none": None,
    "a number": 0.5,
    "objects": np.array([0.1, None], object),
    "2-D": np.zeros((1, 100), np.float32),
    "stereo": np.zeros((100, 2), np.int16),
    "ragged": [[0.1], [0.1, 0.2]],
}


@pytest.mark.parametrize("block", WRONG.values(), ids=WRONG)
def test_what_is_no_mono_pcm_is_refused_and_nothing_taken(block):
    stream, live = quick(), []
    for good in blocks_of():
        live += stream.push(good)
        with pytest.raises(ParameterError, match=r"a stream takes mono PCM.*of int16.*; got"):
            stream.push(block)
    assert_same(live + stream.flush(), EXPECTED)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_sample_that_is_not_finite_ends_the_stream_until_reset(bad, rate):
    stream, block = quick(sample_rate=rate), np.zeros(rate // 10, np.float32)
    block[[100, 200]] = bad
    for _ in range(5):
        stream.push(np.zeros(rate // 10, np.float32))
    at = rate // 2 + 100
    with pytest.raises(AudioError, match=rf"sample {at} .*at {at / rate:.3f} s.*not finite.*reset\(\)"):
        stream.push(block)
    for call in (lambda: stream.push(np.zeros(10)), stream.flush):
        with pytest.raises(StreamError, match=r"error after 0\.500 s.*reset\(\)"):
            call()
    stream.reset()
    pcm = at_rate(rate, 0.6)
    assert_same(pushed(stream, pcm), pushed(quick(sample_rate=rate), pcm))


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_block_may_be_taken_for_silence(rate, bad):
    pcm = at_rate(rate, 1.5)
    silenced, sick = pcm.copy(), pcm.copy()
    silenced[2_000:4_000] = silenced[7_000:8_000] = 0
    sick[[2_000, 3_999, 7_500]] = bad
    stream = quick(sample_rate=rate, non_finite="silence")
    assert_same(pushed(stream, sick, [1000] * 20), pushed(quick(sample_rate=rate), silenced, [1000] * 20))
    assert stream.n_silenced == 3_000
    stream.reset()
    assert stream.n_silenced == 0
    assert_same(pushed(stream, pcm), pushed(quick(sample_rate=rate), pcm))


def test_a_silenced_block_of_the_caller_is_left_as_it_is():
    block = np.full(100, np.nan, np.float32)
    quick(non_finite="silence").push(block)
    assert np.isnan(block).all()


@pytest.mark.parametrize("huge", [1e39, -1e300])
def test_a_float64_that_float32_cannot_hold_is_not_finite(huge):
    with pytest.raises(AudioError, match="not finite"):
        quick().push(np.array([0, huge]))


def test_nothing_is_taken_after_the_end():
    stream = quick()
    assert_same(pushed(stream, WAVEFORM), EXPECTED)
    for call in (lambda: stream.push(WAVEFORM), stream.flush, lambda: list(stream.iterate([WAVEFORM]))):
        with pytest.raises(StreamError, match=r"has ended: it was flushed\. reset\(\) starts it anew"):
            call()
    stream.reset()
    assert_same(pushed(stream, WAVEFORM), EXPECTED)


@pytest.mark.parametrize("fails_at", [0, 3])
def test_an_encoder_that_fails_ends_the_stream_until_reset(fails_at):
    stream = ChunkStream(FailingTeller(fails_at), 25, window=QUICK)
    with pytest.raises(RuntimeError, match="out of memory"):
        pushed(stream, WAVEFORM, [1000] * 40)
    with pytest.raises(StreamError, match=r"error after .* s\. reset\(\)"):
        stream.push(WAVEFORM)
    stream.reset()
    assert_same(pushed(stream, WAVEFORM), EXPECTED)


def test_an_encoder_that_fails_at_the_end_does_so_too():
    stream = ChunkStream(FailingTeller(0), 25, window="live-exact")
    stream.push(WAVEFORM)
    with pytest.raises(RuntimeError, match="out of memory"):
        stream.flush()
    with pytest.raises(StreamError, match=r"reset\(\)"):
        stream.flush()


# --- sources


class Failed(Exception):
    """What a source may raise."""


def fails(blocks: Iterable[np.ndarray], error: BaseException) -> Iterator[np.ndarray]:
    yield from blocks
    raise error


def sleeps(blocks: Iterable[np.ndarray], wake: threading.Event) -> Iterator[np.ndarray]:
    """Stall after these blocks until woken."""
    yield from blocks
    wake.wait(20)


def keep(frames: Iterable, live: list) -> None:
    """Keep what comes, also where an error ends it."""
    for each in frames:
        live.append(each)


BEFORE = set()  # threads that are not of the test that runs


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    BEFORE.clear()
    BEFORE.update(threading.enumerate())
    yield
    wait_for(lambda: not readers())


@pytest.fixture
def wake() -> Iterator[threading.Event]:
    """Wakes what still sleeps when a test ends."""
    event = threading.Event()
    yield event
    event.set()


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in BEFORE]


def wait_for(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"still {threading.enumerate()}"
        time.sleep(0.01)


def in_time(function: Callable[[], object], seconds: float = 10) -> object:
    """Call what might never return."""
    result = queue.Queue()

    def call() -> None:
        try:
            result.put((function(), None))
        except Exception as error:
            result.put((None, error))

    threading.Thread(target=call, daemon=True).start()
    value, error = result.get(timeout=seconds)
    if error:
        raise error
    return value


@pytest.mark.parametrize("stall_s", [None, 5])
@pytest.mark.parametrize("size", [160, 1000, 100_000])
def test_a_source_is_pushed_block_by_block(stall_s, size):
    assert_same(list(quick().iterate(blocks_of(size=size), stall_s=stall_s)), EXPECTED)
    assert_same(list(quick().iterate(iter(blocks_of(size=size)), stall_s=stall_s)), EXPECTED)
    wait_for(lambda: not readers())


@pytest.mark.parametrize("stall_s", [None, 5])
def test_frames_come_while_the_source_goes_on(stall_s):
    asked = []

    def source() -> Iterator[np.ndarray]:
        for i, block in enumerate(blocks_of()):
            asked.append(i)
            yield block

    frames = quick().iterate(source(), stall_s=stall_s)
    assert next(frames).frame == 0
    assert len(asked) < 20
    frames.close()


@pytest.mark.parametrize("stall_s", [None, 5])
def test_an_empty_source_gives_nothing(stall_s):
    assert list(quick().iterate([], stall_s=stall_s)) == []


def test_a_source_that_stalls_is_told_of_and_nothing_is_lost(wake):
    stream, blocks, live = quick(), blocks_of(), []
    began = time.monotonic()
    with pytest.raises(StreamError, match=rf"no audio came for {STALL_S:g} s.*stalled.*flush\(\).*reset\(\)"):
        keep(stream.iterate(sleeps(blocks[:20], wake), stall_s=STALL_S), live)
    assert STALL_S <= time.monotonic() - began < STALL_S + 5
    live += list(stream.iterate(blocks[20:], stall_s=5))
    assert_same(live, EXPECTED)


def test_after_a_stall_the_stream_can_be_flushed(wake):
    stream, live = quick(), []
    with pytest.raises(StreamError, match="stalled"):
        keep(stream.iterate(sleeps(blocks_of()[:20], wake), stall_s=STALL_S), live)
    assert_same(live + stream.flush(), pushed(quick(), np.concatenate(blocks_of()[:20])))


def test_the_same_source_may_go_on_after_a_stall():
    """A microphone that was pulled out and put in again is the same object, and its next block must not be lost."""

    class Microphone:
        def __init__(self):
            self.heard = queue.Queue()

        def __iter__(self) -> "Microphone":
            return self

        def __next__(self) -> np.ndarray:
            block = self.heard.get(timeout=20)
            if block is None:
                raise StopIteration
            return block

    microphone, stream, live, blocks = Microphone(), quick(), [], blocks_of()
    for block in blocks[:20]:
        microphone.heard.put(block)
    with pytest.raises(StreamError, match="stalled"):
        keep(stream.iterate(microphone, stall_s=STALL_S), live)
    for block in [*blocks[20:], None, None]:
        microphone.heard.put(block)
    live += list(stream.iterate(microphone, stall_s=5))
    assert told(live) == told(EXPECTED)
    wait_for(lambda: not readers())


@pytest.mark.parametrize("pause", [0.01, 0], ids=["now and then", "at once"])
def test_blocks_without_samples_are_a_stall_as_well(pause, wake):
    def source() -> Iterator[np.ndarray]:
        yield from blocks_of()[:5]
        while not wake.is_set():
            time.sleep(pause) if pause else None
            yield np.empty(0, np.float32)

    with pytest.raises(StreamError, match="stalled"):
        in_time(lambda: list(quick().iterate(source(), stall_s=STALL_S)), 5)


def test_a_slow_listener_is_no_stall():
    """The time that a frame is worked on is not the source's."""
    frames = []
    for live in quick().iterate(blocks_of(WAVEFORM[:12_000], 4_000), stall_s=STALL_S):
        if not frames:
            time.sleep(2 * STALL_S)
        frames.append(live)
    assert len(frames) == 18


@pytest.mark.parametrize("stall_s", [None, 5])
@pytest.mark.parametrize("error", [Failed("unplugged"), queue.Empty(), TimeoutError("theirs")], ids=repr)
def test_a_sources_own_error_comes_through(stall_s, error):
    """queue.Empty is what a source raises that reads from a queue with a limit of its own."""
    stream, live = quick(), []
    with pytest.raises(type(error)) as raised:
        keep(stream.iterate(fails(blocks_of()[:20], error), stall_s=stall_s), live)
    assert raised.value is error
    assert_same(live + list(stream.iterate(blocks_of()[20:])), EXPECTED)


@pytest.mark.parametrize("stall_s", [None, 5])
def test_a_source_that_cannot_be_opened_says_so(stall_s):
    class Device:
        def __iter__(self) -> Iterator[np.ndarray]:
            raise Failed("no such device")

    with pytest.raises(Failed, match="no such device"):
        list(quick().iterate(Device(), stall_s=stall_s))
    with pytest.raises(TypeError, match="not iterable"):
        list(quick().iterate(5, stall_s=stall_s))


@pytest.mark.parametrize("stall_s", [None, 5])
@pytest.mark.parametrize("block", [None, np.zeros(10, np.int32)], ids=["none", "int32"])
def test_a_block_of_another_kind_is_an_error_not_the_end(stall_s, block):
    with pytest.raises(ParameterError, match="mono PCM"):
        list(quick().iterate([*blocks_of()[:5], block, *blocks_of()[5:]], stall_s=stall_s))


@pytest.mark.parametrize("stall_s", [0, -1, float("nan"), "1", True])
def test_a_limit_that_is_none_is_refused(stall_s):
    with pytest.raises(ParameterError, match="stall_s"):
        list(quick().iterate(blocks_of(), stall_s=stall_s))


def test_whoever_leaves_early_leaves_no_thread():
    blocks = 1000 * blocks_of()
    for live in quick().iterate(blocks, stall_s=5):
        if live.frame == 10:
            break
    wait_for(lambda: not readers())


def test_an_error_of_the_stream_leaves_no_thread():
    with pytest.raises(AudioError):
        list(quick().iterate([*blocks_of()[:5], np.full(10, np.nan), *(1000 * blocks_of())], stall_s=5))
    wait_for(lambda: not readers())


def test_the_source_is_closed_by_whoever_leaves_early():
    closed = threading.Event()

    def source() -> Iterator[np.ndarray]:
        try:
            while True:
                yield WAVEFORM[:1000]
        finally:
            closed.set()

    frames = quick().iterate(source(), stall_s=5)
    next(frames)
    frames.close()
    assert closed.wait(10)


def test_a_source_does_not_run_far_ahead():
    """It is read as fast as the stream takes it: an endless file must not be read into memory."""
    asked = []

    def source() -> Iterator[np.ndarray]:
        for i in range(10_000):
            asked.append(i)
            yield WAVEFORM[:8_000]

    frames = quick().iterate(source(), stall_s=5)
    next(frames)
    time.sleep(0.3)
    assert len(asked) < 20
    frames.close()


# --- asynchronous sources


async def sent(blocks: Iterable[np.ndarray], pause: float = 0) -> AsyncIterator[np.ndarray]:
    for block in blocks:
        await asyncio.sleep(pause)
        yield block


async def collected(frames: AsyncIterator, into: list | None = None) -> list:
    into = [] if into is None else into
    async for live in frames:
        into.append(live)
    return into


@pytest.mark.parametrize("stall_s", [None, 5])
def test_an_asynchronous_source_gives_the_same(stall_s, small):
    stream = ChunkStream(small, 25, window=QUICK)
    got = asyncio.run(collected(stream.aiterate(sent(blocks_of()), stall_s=stall_s)))
    stream.reset()
    assert_same(got, pushed(stream, WAVEFORM))


def test_two_streams_at_once(small):
    recordings = [(speech(3 * RATE), 25), (WAVEFORM[::-1].copy(), 29.97)]

    async def both() -> list[list]:
        streams = [ChunkStream(small, fps, window="live-low") for _, fps in recordings]
        sources = [sent(blocks_of(pcm, 700), 0.001) for pcm, _ in recordings]
        work = [stream.aiterate(source, stall_s=5) for stream, source in zip(streams, sources, strict=True)]
        return await asyncio.gather(*map(collected, work))

    for got, (pcm, fps) in zip(asyncio.run(both()), recordings, strict=True):
        assert_same(got, pushed(ChunkStream(small, fps, window="live-low"), pcm))


def test_the_event_loop_is_free_while_the_encoder_works():
    slow, ticks = SlowTeller(0.15), []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.005)

    async def both() -> list:
        ticker = asyncio.create_task(tick())
        stream = ChunkStream(slow, 25, window=EncoderWindow(0, 0.5, 0.1, None, positions="clip"))
        live = await collected(stream.aiterate(sent(blocks_of()[:20])))
        ticker.cancel()
        return live

    assert len(asyncio.run(both())) == 31
    assert len(slow.busy) == 3  # the last of them in flush
    for began, ended in slow.busy:
        assert sum(began < tick < ended for tick in ticks) >= 3


@pytest.mark.parametrize("again", [False, True], ids=["another generator", "the same"])
def test_an_asynchronous_stall_is_told_of_and_nothing_is_lost(again):
    """What comes late to a generator is the first that is read on: one that is cancelled would be at its end."""

    async def run() -> list:
        heard, stream, live, blocks = asyncio.Queue(), quick(), [], blocks_of()

        async def microphone() -> AsyncIterator[np.ndarray]:
            while (block := await heard.get()) is not None:
                yield block

        source = microphone()
        for block in blocks[:20]:
            heard.put_nowait(block)
        with pytest.raises(StreamError, match=r"no audio came for .*stalled.*flush\(\).*reset\(\)"):
            await collected(stream.aiterate(source, stall_s=STALL_S), live)
        for block in [*blocks[20:], None]:
            heard.put_nowait(block)
        return await collected(stream.aiterate(source if again else microphone(), stall_s=5), live)

    assert_same(asyncio.run(run()), EXPECTED)


def test_asynchronous_blocks_without_samples_are_a_stall_as_well():
    async def source() -> AsyncIterator[np.ndarray]:
        while True:
            await asyncio.sleep(0.01)
            yield np.empty(0, np.float32)

    with pytest.raises(StreamError, match="stalled"):
        asyncio.run(collected(quick().aiterate(source(), stall_s=STALL_S)))


@pytest.mark.parametrize("error", [Failed("unplugged"), TimeoutError("theirs"), queue.Empty()], ids=repr)
@pytest.mark.parametrize("stall_s", [None, 5])
def test_an_asynchronous_sources_own_error_comes_through(error, stall_s):
    async def source() -> AsyncIterator[np.ndarray]:
        yield WAVEFORM[:1000]
        raise error

    with pytest.raises(type(error)) as raised:
        asyncio.run(collected(quick().aiterate(source(), stall_s=stall_s)))
    assert raised.value is error


@pytest.mark.parametrize("block", [None, np.zeros(10, np.int32)], ids=["none", "int32"])
def test_an_asynchronous_block_of_another_kind_is_an_error(block):
    with pytest.raises(ParameterError, match="mono PCM"):
        asyncio.run(collected(quick().aiterate(sent([WAVEFORM[:1000], block]), stall_s=5)))


def test_a_slow_asynchronous_listener_is_no_stall():
    async def run() -> int:
        n = 0
        async for _ in quick().aiterate(sent(blocks_of(WAVEFORM[:12_000], 4_000)), stall_s=STALL_S):
            if not n:
                await asyncio.sleep(2 * STALL_S)
            n += 1
        return n

    assert asyncio.run(run()) == 18


def test_whoever_leaves_an_asynchronous_stream_early_may_go_on():
    async def run() -> tuple[list, list]:
        stream, blocks, live = quick(), iter(blocks_of()), []
        frames = stream.aiterate(sent(blocks), stall_s=5)
        async for each in frames:
            live.append(each)
            if each.frame == 10:
                break
        await frames.aclose()
        return live, pushed(stream, np.concatenate(list(blocks)))

    before, after = asyncio.run(run())
    assert_same(before, EXPECTED[:11])
    assert_same(after, EXPECTED[after[0].frame :])  # what came of the same push as frame 10 was not asked for


def test_a_task_that_is_cancelled_ends_at_once():
    async def run() -> float:
        task = asyncio.create_task(collected(quick().aiterate(sent(blocks_of(), 30))))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    assert asyncio.run(run()) < 5


def test_a_reset_waits_for_the_encoder_of_a_cancelled_task():
    stream = ChunkStream(SlowTeller(0.02), 25, window=QUICK)

    async def run() -> None:
        task = asyncio.create_task(collected(stream.aiterate(sent([WAVEFORM]))))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stream.compute.steps == 0  # its thread is at work yet
        stream.reset()
        assert_same(pushed(stream, WAVEFORM), EXPECTED)

    asyncio.run(run())


def test_threads_push_one_after_the_other():
    stream, live = ChunkStream(SlowTeller(0.005), 25, window=QUICK), []
    threads = [threading.Thread(target=lambda: live.append(stream.push(WAVEFORM[:RATE]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    frames = [frame for part in live for frame, _ in part]
    assert sorted(frames) == list(range(len(frames)))
    assert len(frames) > 90
