"""Live streams made and pushed in a line, and encoders that tell what they were asked for."""

import time
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import torch

from musetools import ChunkStream, audio2feat, feature2chunks
from musetools.chunks.sequence import Chunks
from musetools.features.encoder import Encoder
from musetools.features.spec import EncoderWindow, FeatureSpec
from musetools.infer.live import LiveChunk

RATE = 16_000
ROW = 320  # samples a row
QUICK = EncoderWindow(0.4, 0.2, 0.1, None, positions="clip")  # cheap, and many windows in little audio


def spec_of(window: str | EncoderWindow | FeatureSpec) -> FeatureSpec:
    return FeatureSpec(window=window) if isinstance(window, EncoderWindow) else FeatureSpec.named(window)


def in_pieces(pcm: np.ndarray, sizes: Iterable[int]) -> Iterator[np.ndarray]:
    """Cut PCM into blocks of these sizes; the last takes what is left."""
    start = 0
    for size in sizes:
        yield pcm[start : start + size]
        start += size
    yield pcm[start:]


def pushed(stream: ChunkStream, pcm: np.ndarray, sizes: Iterable[int] = ()) -> list[LiveChunk]:
    """Push all of it and flush."""
    live = []
    for block in in_pieces(pcm, sizes):
        live += stream.push(block)
    return live + stream.flush()


def one_by_one(stream: ChunkStream, pcm: np.ndarray, step: int) -> Iterator[tuple[int, LiveChunk]]:
    """Push in equal steps; yield each frame with the samples that had been pushed when it came."""
    for start in range(0, len(pcm), step):
        heard = min(start + step, len(pcm))
        for live in stream.push(pcm[start:heard]):
            yield heard, live


def offline(
    pcm: np.ndarray,
    encoder: Encoder,
    window: str | EncoderWindow | FeatureSpec,
    fps: float | Fraction,
    context: tuple[int, int] = (2, 2),
    *,
    edge: str = "clamp",
    rate: int = RATE,
) -> Chunks:
    """What the whole recording gives."""
    features = audio2feat((pcm, rate), encoder, spec=spec_of(window))
    return feature2chunks(features, fps, context, edge=edge)


def assert_same(got: list[LiveChunk], expected: list[LiveChunk]) -> None:
    """Compare bit for bit, what each chunk knows as well."""
    assert told(got) == told(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.chunk.dtype == other.chunk.dtype == np.float32
        np.testing.assert_array_equal(one.chunk, other.chunk)


def told(live: list[LiveChunk]) -> list[tuple]:
    return [(each.frame, each.time_s, each.loudness, each.chunk.shape) for each in live]


def assert_equals_offline(live: list[LiveChunk], chunks: Chunks) -> None:
    assert [each.frame for each in live] == list(chunks.frames)
    assert [each.time_s for each in live] == [float(frame / chunks.fps) for frame in chunks.frames]
    if live:
        got = np.stack([each.chunk for each in live])
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, np.asarray(chunks), rtol=0, atol=1e-5)


class RowTeller(Encoder):
    """An encoder that costs nothing: a row is its number in the clip and the loudest of its mel.

    The number is right with ``positions="clip"`` alone.
    """

    name, fingerprint, dtype, device = "row-teller", "none", "float32", torch.device("cpu")
    n_layers, width, n_mels, max_rows = 1, 2, 80, 1500

    def __init__(self):
        self.n_passes = 0

    def hidden_states(self, mel, *, first_position=0, final_norm=True) -> torch.Tensor:
        self.n_passes += 1
        n_rows = -(-mel.shape[-1] // 2)
        numbers = first_position + torch.arange(n_rows, dtype=torch.float32)
        loudest = torch.nn.functional.max_pool1d(mel.max(dim=0).values[None, None], 2, ceil_mode=True)[0, 0]
        return torch.stack([numbers, loudest], dim=1)[None, :, None]


class SlowTeller(RowTeller):
    """The same, in its own time."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds

    def hidden_states(self, mel, **how) -> torch.Tensor:
        time.sleep(self.seconds)
        return super().hidden_states(mel, **how)


class FailingTeller(RowTeller):
    """The same, until a pass of which it dies, once."""

    def __init__(self, fails_at: int):
        super().__init__()
        self.fails_at = fails_at

    def hidden_states(self, mel, **how) -> torch.Tensor:
        if self.n_passes == self.fails_at:
            self.fails_at = -1
            raise RuntimeError("CUDA error: out of memory")
        return super().hidden_states(mel, **how)
