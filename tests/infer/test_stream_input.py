"""What a live stream is fed: other rates, bad blocks, sources that stall, raise, end early or are asynchronous."""

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import nullcontext

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
from waiting import wait_for

from musetools import AudioError, ChunkStream, EncoderWindow, FeatureSpec, ParameterError, StreamError, load_audio
from musetools.infer.live import LiveChunk
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
    stream.push(pcm[:5_000])
    stream.reset()
    assert_same(pushed(stream, pcm, sizes), whole)
    assert_equals_offline(whole, offline(pcm, RowTeller(), spec, 25, rate=rate))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("rate", [*RATES, 11_025, 96_000])
def test_the_waveform_is_that_of_load_audio_to_the_bit(rate, decoder):
    pcm = at_rate(rate, 0.05)
    expected = load_audio((pcm, rate), decoder=decoder)
    for size in (1, 160, len(pcm)):
        source = PcmInput(rate, decoder, "error")
        got = [source.push(block) for block in in_pieces(pcm, [size] * (len(pcm) // size))]
        np.testing.assert_array_equal(np.concatenate([*got, source.flush()]), expected)


@pytest.mark.parametrize(
    ("decoder", "rate", "limit_s"),
    [("timeline", 8_000, 0.005), ("timeline", 48_000, 0.005), ("librosa", 48_000, 0.038), ("librosa", 8_000, 0.117)],
)
def test_a_resampler_waits_no_longer_than_is_documented(decoder, rate, limit_s):
    source, step, n_out, waits = PcmInput(rate, decoder, "error"), rate // 1000, 0, []
    for n_in in range(step, rate, step):
        n_out += len(source.push(np.zeros(step, np.float32)))
        waits.append(n_in / rate - n_out / RATE)
    assert limit_s / 10 < max(waits) <= limit_s


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
    given = sick.copy()
    stream = quick(sample_rate=rate, non_finite="silence")
    assert_same(pushed(stream, sick, [1000] * 20), pushed(quick(sample_rate=rate), silenced, [1000] * 20))
    np.testing.assert_array_equal(sick, given)  # the caller's blocks are left as they are
    assert stream.n_silenced == 3_000
    stream.reset()
    assert stream.n_silenced == 0
    assert_same(pushed(stream, pcm), pushed(quick(sample_rate=rate), pcm))


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


@pytest.mark.parametrize(("fails_at", "window"), [(0, QUICK), (3, QUICK), (0, "live-exact")])
def test_an_encoder_that_fails_ends_the_stream_until_reset(fails_at, window):
    """The only window of "live-exact" is encoded by flush."""
    stream = ChunkStream(FailingTeller(fails_at), 25, window=window)
    with pytest.raises(RuntimeError, match="out of memory"):
        pushed(stream, WAVEFORM, [1000] * 40)
    for call in (lambda: stream.push(WAVEFORM), stream.flush):
        with pytest.raises(StreamError, match=r"error after .* s\. reset\(\)"):
            call()
    stream.reset()
    assert_same(pushed(stream, WAVEFORM), pushed(ChunkStream(RowTeller(), 25, window=window), WAVEFORM))


# --- sources


class Failed(Exception):
    """What a source may raise."""


def fails(blocks: Iterable[np.ndarray], error: BaseException) -> Iterator[np.ndarray]:
    yield from blocks
    raise error


async def sent(blocks: Iterable[np.ndarray], pause: float = 0) -> AsyncIterator[np.ndarray]:
    for block in blocks:
        await asyncio.sleep(pause)
        yield block


async def collected(frames: AsyncIterator, keep: Callable[[LiveChunk], None]) -> None:
    async for live in frames:
        keep(live)


Way = tuple[Callable, float | None]  # how a source is read: plain or asynchronous, and its limit in s


def read(stream: ChunkStream, blocks: Iterable, way: Way, keep: Callable[[LiveChunk], None]) -> None:
    """Go through a source; what comes is kept, also where an error ends it."""
    method, stall_s = way
    if method is ChunkStream.aiterate:
        asyncio.run(collected(stream.aiterate(sent(blocks), stall_s=stall_s), keep))
        return
    for live in stream.iterate(blocks, stall_s=stall_s):
        keep(live)


PLAIN, ASYNCHRONOUS = ChunkStream.iterate, ChunkStream.aiterate
WAYS = {f"{method.__name__}, {stall_s}": (method, stall_s) for method in (PLAIN, ASYNCHRONOUS) for stall_s in (None, 5)}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
both = pytest.mark.parametrize("method", [PLAIN, ASYNCHRONOUS], ids=["plain", "asynchronous"])


def sleeps(blocks: Iterable[np.ndarray], wake: threading.Event) -> Iterator[np.ndarray]:
    """Stall after these blocks until woken."""
    yield from blocks
    wake.wait(20)


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


@ways
@pytest.mark.parametrize("size", [160, 1000, 100_000])
def test_a_source_is_pushed_block_by_block(way, size):
    for blocks, expected in (
        (blocks_of(size=size), EXPECTED),
        (iter(blocks_of(size=size)), EXPECTED),
        ([], []),
    ):
        live = []
        read(quick(), blocks, way, live.append)
        assert_same(live, expected)


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


def test_a_source_that_stalls_is_told_of_and_nothing_is_lost(wake):
    stream, blocks, live = quick(), blocks_of(), []
    with pytest.raises(StreamError, match=rf"no audio came for {STALL_S:g} s.*stalled.*flush\(\).*reset\(\)"):
        read(stream, sleeps(blocks[:20], wake), (PLAIN, STALL_S), live.append)
    live += list(stream.iterate(blocks[20:], stall_s=5))
    assert_same(live, EXPECTED)


def test_after_a_stall_the_stream_can_be_flushed(wake):
    stream, live = quick(), []
    with pytest.raises(StreamError, match="stalled"):
        read(stream, sleeps(blocks_of()[:20], wake), (PLAIN, STALL_S), live.append)
    assert_same(live + stream.flush(), pushed(quick(), np.concatenate(blocks_of()[:20])))


@pytest.mark.parametrize("then", [None, 5])
def test_the_same_source_may_go_on_after_a_stall(then):
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
        read(stream, microphone, (PLAIN, STALL_S), live.append)
    for block in [*blocks[20:], None, None]:
        microphone.heard.put(block)
    live += list(stream.iterate(microphone, stall_s=then))
    assert told(live) == told(EXPECTED)


@both
@pytest.mark.parametrize("pause", [0.01, 0], ids=["now and then", "at once"])
def test_blocks_without_samples_are_a_stall_as_well(pause, method, wake):
    def source() -> Iterator[np.ndarray]:
        yield from blocks_of()[:5]
        while not wake.is_set():
            time.sleep(pause) if pause else None
            yield np.empty(0, np.float32)

    with pytest.raises(StreamError, match="stalled"):
        in_time(lambda: read(quick(), source(), (method, STALL_S), id), 20)


@both
def test_a_slow_listener_is_no_stall(method):
    """The time that a frame is worked on is not the source's."""
    frames = []

    def slowly(live: LiveChunk) -> None:
        if not frames:
            time.sleep(2 * STALL_S)
        frames.append(live)

    read(quick(), blocks_of(WAVEFORM[:12_000], 4_000), (method, STALL_S), slowly)
    assert len(frames) == 18


@ways
@pytest.mark.parametrize("error", [Failed("unplugged"), queue.Empty(), TimeoutError("theirs")], ids=repr)
def test_a_sources_own_error_comes_through(way, error):
    """queue.Empty is what a source raises that reads from a queue with a limit of its own."""
    stream, live = quick(), []
    with pytest.raises(type(error)) as raised:
        read(stream, fails(blocks_of()[:20], error), way, live.append)
    assert raised.value is error
    assert_same(live + list(stream.iterate(blocks_of()[20:])), EXPECTED)


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()], ids=repr)
def test_whatever_a_source_raises_is_no_stall(error):
    with pytest.raises(type(error)):
        list(quick().iterate(fails(blocks_of()[:20], error), stall_s=5))


@pytest.mark.parametrize("stall_s", [None, 5])
def test_a_source_that_cannot_be_opened_says_so(stall_s):
    class Device:
        def __iter__(self) -> Iterator[np.ndarray]:
            raise Failed("no such device")

    with pytest.raises(Failed, match="no such device"):
        list(quick().iterate(Device(), stall_s=stall_s))
    with pytest.raises(TypeError, match="not iterable"):
        list(quick().iterate(5, stall_s=stall_s))


@ways
@pytest.mark.parametrize("block", [None, np.zeros(10, np.int32)], ids=["none", "int32"])
def test_a_block_of_another_kind_is_an_error_not_the_end(way, block):
    with pytest.raises(ParameterError, match="mono PCM"):
        read(quick(), [*blocks_of()[:5], block, *blocks_of()[5:]], way, id)


@pytest.mark.parametrize("stall_s", [0, -1, float("nan"), "1", True])
def test_a_limit_that_is_none_is_refused(stall_s):
    with pytest.raises(ParameterError, match="stall_s"):
        list(quick().iterate(blocks_of(), stall_s=stall_s))


def test_an_error_of_the_stream_leaves_no_thread():
    with pytest.raises(AudioError):
        list(quick().iterate([*blocks_of()[:5], np.full(10, np.nan), *(1000 * blocks_of())], stall_s=5))


@pytest.mark.parametrize("stall_s", [None, 5])
def test_the_source_is_closed_by_whoever_leaves_early(stall_s):
    """Whether or not the stream goes on."""
    closed = threading.Event()

    def source() -> Iterator[np.ndarray]:
        try:
            while True:
                yield WAVEFORM[:1000]
        finally:
            closed.set()

    stream = quick()
    frames = stream.iterate(source(), stall_s=stall_s)
    next(frames)
    frames.close()
    assert closed.wait(10)
    assert stream.push(WAVEFORM)


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


def test_two_streams_at_once(small):
    recordings = [(speech(3 * RATE), 25), (WAVEFORM[::-1].copy(), 29.97)]

    async def both() -> list[list]:
        streams = [ChunkStream(small, fps, window="live-low") for _, fps in recordings]
        sources = [sent(blocks_of(pcm, 700), 0.001) for pcm, _ in recordings]
        live = [[], []]
        work = zip(streams, sources, live, strict=True)
        await asyncio.gather(*(collected(one.aiterate(source, stall_s=5), got.append) for one, source, got in work))
        return live

    for got, (pcm, fps) in zip(asyncio.run(both()), recordings, strict=True):
        assert_same(got, pushed(ChunkStream(small, fps, window="live-low"), pcm))


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
            await collected(stream.aiterate(source, stall_s=STALL_S), live.append)
        for block in [*blocks[20:], None]:
            heard.put_nowait(block)
        await collected(stream.aiterate(source if again else microphone(), stall_s=5), live.append)
        return live

    assert_same(asyncio.run(run()), EXPECTED)


def test_an_asynchronous_source_that_never_waits_leaves_the_event_loop_free(wake):
    async def nothing() -> AsyncIterator[np.ndarray]:
        while not wake.is_set():
            yield np.empty(0, np.float32)

    with pytest.raises(StreamError, match="stalled"):
        in_time(lambda: asyncio.run(collected(quick().aiterate(nothing(), stall_s=STALL_S), id)))


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


def test_an_asynchronous_source_is_closed_by_whoever_leaves_early():
    async def run() -> None:
        closed, stream = asyncio.Event(), quick()

        async def source() -> AsyncIterator[np.ndarray]:
            try:
                while True:
                    yield WAVEFORM[:1000]
            finally:
                closed.set()

        frames = stream.aiterate(source())
        await anext(frames)
        await frames.aclose()
        await asyncio.wait_for(closed.wait(), 10)
        assert stream.push(WAVEFORM)

    asyncio.run(run())


def test_after_a_stall_another_event_loop_reads_on():
    """A loop that was closed without cancelling its tasks keeps the block that was asked for."""
    stream, blocks, live = quick(), blocks_of(), []

    class Microphone:
        heard = iter([*blocks[:20], None, *blocks[20:]])

        def __aiter__(self) -> "Microphone":
            return self

        async def __anext__(self) -> np.ndarray:
            if (block := next(self.heard, "end")) is None:
                await asyncio.sleep(10**6)
            if isinstance(block, str):
                raise StopAsyncIteration
            return block

    microphone = Microphone()
    for raises in (pytest.raises(StreamError, match="stalled"), nullcontext()):
        loop = asyncio.new_event_loop()
        with raises:
            loop.run_until_complete(collected(stream.aiterate(microphone, stall_s=STALL_S), live.append))
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False
        loop.close()
    assert_same(live, EXPECTED)


def test_the_event_loop_is_free_while_the_encoder_works():
    class Waits(RowTeller):
        """Goes on when the event loop has run something."""

        def hidden_states(self, mel, **how):
            ran = threading.Event()
            self.loop.call_soon_threadsafe(ran.set)
            assert ran.wait(20)
            return super().hidden_states(mel, **how)

    encoder, live = Waits(), []

    async def run() -> None:
        encoder.loop = asyncio.get_running_loop()
        stream = ChunkStream(encoder, 25, window=EncoderWindow(0, 0.5, 0.1, None, positions="clip"))
        await collected(stream.aiterate(sent(blocks_of()[:20])), live.append)

    asyncio.run(run())
    assert (len(live), encoder.n_passes) == (31, 3)  # the last of them in flush


def test_a_task_that_is_cancelled_ends_at_once():
    async def run() -> None:
        task = asyncio.create_task(collected(quick().aiterate(sent(blocks_of(), 10**6)), id))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 60)

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stalls", [False, True], ids=["reads", "lets go of a source that stalled"])
def test_a_task_is_cancelled_whatever_its_source_makes_of_it(stalls):
    async def stubborn() -> AsyncIterator[np.ndarray]:
        yield WAVEFORM[:1000]
        try:
            await asyncio.sleep(10**6)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2 if stalls else 0)  # it closes its connection
            raise Failed("closed") from None

    async def run() -> None:
        stream = quick()
        if stalls:
            with pytest.raises(StreamError, match="stalled"):
                await collected(stream.aiterate(stubborn(), stall_s=STALL_S), id)
        source = sent(itertools.repeat(WAVEFORM[:1000]), 0.01) if stalls else stubborn()
        task = asyncio.create_task(collected(stream.aiterate(source), id))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()

    asyncio.run(run())


def test_a_reset_waits_for_the_encoder_of_a_cancelled_task():
    stream = ChunkStream(SlowTeller(0.02), 25, window=QUICK)

    async def run() -> None:
        task = asyncio.create_task(collected(stream.aiterate(sent([WAVEFORM])), id))
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
