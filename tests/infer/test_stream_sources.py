"""Live sources as people have them: bytes, frames with time stamps, WebRTC and a websocket."""

import asyncio
import fractions
from collections.abc import AsyncIterator, Iterable, Iterator

import av
import numpy as np
import pytest
from oracles import speech
from streams import QUICK, RowTeller, assert_same, pushed

from musetools import AudioError, ChunkStream, FeatureSpec, ParameterError, audio2feat, feature2chunks
from musetools.infer.live import LiveChunk

RTC = 48_000  # Opus in WebRTC
SIZE = 960  # samples a packet: 20 ms
SOUND = (speech(2 * RTC) * 32767).astype(np.int16)  # 2 s of it; how it sounds does not matter

pytestmark = pytest.mark.usefixtures("one_thread")


def quick(rate: int = RTC, **how) -> ChunkStream:
    return ChunkStream(RowTeller(), 25, sample_rate=rate, **{"window": QUICK, **how})


def frame(samples: np.ndarray, start: int | None, *, rate: int = RTC, layout: str = "mono") -> av.AudioFrame:
    made = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
    made.sample_rate, made.time_base = rate, fractions.Fraction(1, rate)
    made.pts = start
    return made


def packets(pcm: np.ndarray = SOUND, first: int = 7_000) -> list[av.AudioFrame]:
    """Frames of 20 ms whose time stamps begin anywhere, as those of RTP do."""
    return [frame(pcm[i : i + SIZE], first + i) for i in range(0, len(pcm), SIZE)]


def taken(stream: ChunkStream, blocks: Iterable) -> list[LiveChunk]:
    return [live for block in blocks for live in stream.push(block)] + stream.flush()


def with_silence(pcm: np.ndarray, lost: Iterable[int]) -> np.ndarray:
    pcm = pcm.copy()
    for i in lost:
        pcm[i * SIZE : (i + 1) * SIZE] = 0
    return pcm


# --- bytes


@pytest.mark.parametrize(("kind", "size"), [(bytes, 1), (bytes, 999), (bytearray, 6000), (memoryview, 10**6)])
def test_bytes_are_16_bit_samples_wherever_they_are_cut(kind, size):
    sound = SOUND[:2400]
    data = sound.tobytes()
    got = taken(quick(24_000), (kind(data[i : i + size]) for i in range(0, len(data), size)))
    assert_same(got, pushed(quick(24_000), sound))


# --- frames


@pytest.mark.parametrize("stamps", [True, False])
def test_frames_without_a_fault_give_what_their_samples_give(stamps):
    frames = packets()
    for one in frames if not stamps else ():
        one.pts = None
    stream = quick()
    assert_same(taken(stream, frames), pushed(quick(), SOUND))
    assert (stream.n_lost, stream.n_late) == (0, 0)


@pytest.mark.parametrize("decoder", ["timeline", "librosa"])
def test_two_channels_are_mixed_as_a_file_of_them_is(decoder):
    stereo = np.stack([SOUND, SOUND[::-1]])
    starts = range(0, len(SOUND), SIZE)
    frames = (frame(np.ascontiguousarray(stereo[:, i : i + SIZE].T), i, layout="stereo") for i in starts)
    stream = quick(window=FeatureSpec(decoder=decoder, window=QUICK))
    assert_same_chunks(taken(stream, frames), stereo, stream.spec)


@pytest.mark.parametrize("lost", [[3], [10, 11, 12], [1, 50, 98]])
def test_lost_packets_are_silence_of_their_length(lost):
    stream = quick()
    got = taken(stream, (one for i, one in enumerate(packets()) if i not in lost))
    assert_same(got, pushed(quick(), with_silence(SOUND, lost)))
    assert (stream.n_lost, stream.n_late) == (len(lost) * SIZE, 0)


def test_what_comes_again_or_too_late_is_left_out():
    frames = packets()
    again = [*frames[:20], frames[5], frames[19], *frames[20:30], *frames[31:33], frames[30], *frames[33:]]
    stream = quick()
    assert_same(taken(stream, again), pushed(quick(), with_silence(SOUND, [30])))
    assert (stream.n_lost, stream.n_late) == (SIZE, 3 * SIZE)


def test_an_overlap_loses_what_was_there_already():
    half = frame(SOUND[2 * SIZE - 480 : 3 * SIZE], 7_000 + 2 * SIZE - 480)
    stream = quick()
    assert_same(taken(stream, [*packets()[:2], half, *packets()[3:]]), pushed(quick(), SOUND))
    assert stream.n_late == 480


def test_time_stamps_that_tremble_move_nothing():
    """Clocks of a microphone do, and time stamps in milliseconds."""
    frames, dice = packets(), np.random.default_rng(0)
    for one, off in zip(frames, dice.integers(-100, 100, len(frames)), strict=True):
        one.pts += int(off)
    stream = quick()
    assert_same(taken(stream, frames), pushed(quick(), SOUND))
    assert (stream.n_lost, stream.n_late) == (0, 0)


def test_a_jump_ends_the_stream_until_reset():
    stream = quick()
    stream.push(packets()[0])
    with pytest.raises(AudioError, match=r"jump by \+100\.000 s at 0\.020 s; 60 s are the most.*reset\(\)"):
        stream.push(frame(SOUND[:SIZE], 7_000 + SIZE + 100 * RTC))
    stream.reset()
    assert_same(taken(stream, packets(first=10**9)), pushed(quick(), SOUND))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (frame(SOUND[:SIZE], 0, rate=16_000), r"16000 samples a second, the stream 48000.*sample_rate=16000"),
        (av.AudioFrame(format="s16", layout="5.1", samples=SIZE), r"one or two channels.*5\.1.*AudioResampler"),
        (av.AudioFrame(format="u8", layout="mono", samples=SIZE), r"signed integers or floats; got u8"),
    ],
)
def test_other_frames_are_refused_and_nothing_taken(wrong, message):
    wrong.sample_rate = wrong.sample_rate or RTC
    stream, live = quick(), []
    for one in packets():
        live += stream.push(one)
        with pytest.raises(ParameterError, match=message):
            stream.push(wrong)
    assert_same(live + stream.flush(), pushed(quick(), SOUND))


def test_another_number_of_channels_ends_the_stream():
    stream = quick()
    stream.push(packets()[0])
    with pytest.raises(AudioError, match=r"from 1 to 2 channels at 0\.020 s.*reset"):
        stream.push(frame(SOUND[: 2 * SIZE], 7_000 + SIZE, layout="stereo"))


@pytest.mark.parametrize("empty", [b"", np.empty(0, np.float32), "frame"], ids=["bytes", "array", "frame"])
def test_a_block_without_samples_changes_nothing(empty):
    """It has no channels either: what comes before and after may have two."""
    if isinstance(empty, str):
        empty = av.AudioFrame(format="s16", layout="mono", samples=0)
        empty.sample_rate, empty.pts, empty.time_base = RTC, 99 * RTC, fractions.Fraction(1, RTC)
    stereo = [frame(SOUND[i : i + 2 * SIZE], i // 2, layout="stereo") for i in range(0, len(SOUND), 2 * SIZE)]
    mixed = [block for one in stereo for block in (empty, one)]
    assert_same(taken(quick(), mixed), taken(quick(), stereo))


def test_a_view_of_samples_is_what_it_is_a_view_of():
    floats = (SOUND / 32768).astype(np.float32)
    assert_same(taken(quick(), [floats.data]), taken(quick(), [floats]))
    assert_same(taken(quick(), [SOUND.data]), taken(quick(), [SOUND]))


# --- WebRTC, in one process


def test_an_aiortc_call_that_loses_packets():
    """Chunks equal those of the sound that arrived, each packet where its time stamp says, silence where none came."""
    aiortc = pytest.importorskip("aiortc")
    if not aioice_addresses():
        pytest.skip("a call needs a network interface beside the loopback")
    received: list[av.AudioFrame] = []

    class Sender(aiortc.MediaStreamTrack):
        kind = "audio"

        def __init__(self):
            super().__init__()
            self.frames = iter(packets(first=0))

        async def recv(self):
            one = next(self.frames, None)
            if one is None:
                raise aiortc.mediastreams.MediaStreamError
            await asyncio.sleep(0.005)
            return one

    async def frames_of(track) -> AsyncIterator[av.AudioFrame]:
        """What a guide shows; every ninth packet is lost here."""
        for number in range(90):
            try:
                one = await asyncio.wait_for(track.recv(), 10)
            except (TimeoutError, aiortc.mediastreams.MediaStreamError):
                return
            if number % 9 != 4:
                received.append(one)
                yield one

    async def call() -> tuple[list[LiveChunk], ChunkStream]:
        caller, callee = aiortc.RTCPeerConnection(), aiortc.RTCPeerConnection()
        caller.addTrack(Sender())
        arrived = asyncio.get_running_loop().create_future()
        callee.on("track", arrived.set_result)
        await caller.setLocalDescription(await caller.createOffer())
        await callee.setRemoteDescription(caller.localDescription)
        await callee.setLocalDescription(await callee.createAnswer())
        await caller.setRemoteDescription(callee.localDescription)
        stream = quick()
        live = [one async for one in stream.aiterate(frames_of(await asyncio.wait_for(arrived, 30)))]
        await asyncio.gather(caller.close(), callee.close())
        return live, stream

    live, stream = asyncio.run(call())
    assert len(received) > 40
    assert stream.n_lost >= 4 * SIZE
    assert_same_chunks(live, on_timeline(received), stream.spec)


def aioice_addresses() -> list[str]:
    """Tell under which addresses this machine can be called; aiortc leaves the loopback out."""
    from aioice.ice import get_host_addresses

    return get_host_addresses(use_ipv4=True, use_ipv6=True)


def on_timeline(frames: list[av.AudioFrame]) -> np.ndarray:
    """Lay received frames where their time stamps say, (n_channels, n_samples)."""
    start = frames[0].pts
    planes = [one.to_ndarray().reshape(-1, one.layout.nb_channels).T for one in frames]
    laid = np.zeros((len(planes[0]), frames[-1].pts - start + frames[-1].samples), np.int16)
    for one, samples in zip(frames, planes, strict=True):
        laid[:, one.pts - start : one.pts - start + one.samples] = samples
    return laid


def assert_same_chunks(live: list[LiveChunk], sound: np.ndarray, spec: FeatureSpec) -> None:
    chunks = feature2chunks(audio2feat((sound, RTC), RowTeller(), spec=spec), 25)
    np.testing.assert_allclose(np.stack([one.chunk for one in live]), np.asarray(chunks), atol=1e-5)


# --- a websocket of PCM16 at 24 kHz, in bursts, as speech synthesis sends it


def test_a_websocket_that_sends_in_bursts():
    websockets = pytest.importorskip("websockets")
    data = SOUND[:48_000].tobytes()

    def bursts() -> Iterator[bytes]:
        dice, start = np.random.default_rng(0), 0
        while start < len(data):
            size = int(dice.integers(1, 20_000))
            yield data[start : start + size]
            start += size

    async def speak(socket) -> None:
        for burst in bursts():
            await socket.send(burst)

    async def call() -> list[LiveChunk]:
        async with websockets.serve(speak, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with websockets.connect(f"ws://127.0.0.1:{port}") as socket:
                return [live async for live in quick(24_000).aiterate(socket)]

    assert_same(asyncio.run(call()), pushed(quick(24_000), SOUND[:48_000]))
