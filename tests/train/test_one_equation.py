"""One equation for training and inference: move it by a row, and all three chunkers move by that row together."""

import inspect

import numpy as np
import pytest

from musetools import ChunkDataset, ChunkStream, FeatureStore, audio2feat, feature2chunks
from musetools.chunks.rows import rows_around

FPS = 30


def rows_by_chunker(root, encoder) -> dict[str, dict[int, int]]:
    """Each frame's first row in every chunker, looked up by its values."""
    waveform = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    features = audio2feat((waveform, 16_000), encoder, spec="live-low")
    store = FeatureStore.create(root / "store", "live-low", encoder)
    store.add_rows("clip", features, fps=FPS)
    made = feature2chunks(features, FPS, edge="drop")
    stream = ChunkStream(encoder, FPS, window="live-low", edge="drop")
    live = [one for start in range(0, 32_000, 1600) for one in stream.push(waveform[start : start + 1600])]
    chunks = {
        "feature2chunks": zip(made.frames, made, strict=True),
        "ChunkStream": live + stream.flush(),
        "ChunkDataset": [(item["frame"], item["audio"].numpy()) for item in ChunkDataset(store, FPS, edge="drop")],
    }

    def row_of(chunk: np.ndarray) -> int:
        first = chunk.reshape(-1, *features.shape[1:])[0]
        return int(np.flatnonzero((features == first).all((1, 2)))[0])

    return {name: {frame: row_of(chunk) for frame, chunk in each} for name, each in chunks.items()}


@pytest.fixture(scope="module", params=[0, 1])
def moved(request, tmp_path_factory, small) -> tuple[int, dict[str, dict[int, int]]]:
    """By how many rows the equation was moved, wherever it had been imported, and what the chunkers took."""
    source, names = inspect.getsource(rows_around), {}
    assert source.count("chunk_offsets(context)") == 1
    source = source.replace("chunk_offsets(context)", f"(chunk_offsets(context) + {request.param})")
    exec(source, rows_around.__globals__.copy(), names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_around, "__code__", names["rows_around"].__code__)
        return request.param, rows_by_chunker(tmp_path_factory.mktemp("one"), small)


@pytest.mark.parametrize("chunker", ["feature2chunks", "ChunkDataset", "ChunkStream"])
def test_every_chunker_follows_the_equation(moved, chunker):
    moved_by, rows = moved
    assert len(rows[chunker]) > 50
    assert rows[chunker].keys() == rows["feature2chunks"].keys()
    assert all(row == 50 * frame // FPS - 4 + moved_by for frame, row in rows[chunker].items())
