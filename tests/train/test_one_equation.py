"""One equation for training and inference: move it by a row, and all three chunkers move by that row together."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import musetools

PACKAGE = Path(musetools.__file__).parent
EQUATION = "return frame_start(frames, fps, ROW_RATE)[..., None] + chunk_offsets(context)"
PROBE = """
import sys
import numpy as np
from musetools import ChunkDataset, ChunkStream, FeatureStore, feature2chunks, load_encoder
from musetools.features.extract import audio2feat

encoder, out, fps = load_encoder("untrained-tiny", device="cpu"), sys.argv[1], 30
waveform = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
features = audio2feat((waveform, 16_000), encoder, spec="live-low")
store = FeatureStore.create(out + "/store", "live-low", encoder)
store.add_rows("clip", features, fps=fps)

def first_rows(chunks):
    # the row that each chunk begins with, looked up by its values
    firsts = [chunk.reshape(-1, *features.shape[1:])[0] for chunk in chunks]
    return [int(np.flatnonzero((features == first).all((1, 2)))[0]) for first in firsts]

made = feature2chunks(features, fps, edge="drop")
stream = ChunkStream(encoder, fps, window="live-low", edge="drop")
live = [one for start in range(0, 32_000, 1600) for one in stream.push(waveform[start : start + 1600])] + stream.flush()
items = list(ChunkDataset(store, fps, edge="drop"))
frames = [item["frame"] for item in items]
np.savez(
    out + "/rows.npz",
    feature2chunks=np.column_stack([made.frames, first_rows(made)]),
    ChunkStream=np.column_stack([[frame for frame, _ in live], first_rows(chunk for _, chunk in live)]),
    ChunkDataset=np.column_stack([frames, first_rows(item["audio"].numpy() for item in items)]),
)
"""


def first_rows(folder: Path, moved_by: int) -> dict[str, dict[int, int]]:
    """Each frame's first row in every chunker of a copy of the package whose equation is moved."""
    shutil.copytree(PACKAGE, folder / "musetools", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "musetools" / "chunks" / "rows.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(EQUATION) == 1
    path.write_text(text.replace(EQUATION, f"{EQUATION} + {moved_by}"), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROBE, str(folder)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "rows.npz") as rows:
        return {name: dict(rows[name].tolist()) for name in rows.files}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[int, dict[str, dict[int, int]]]:
    return {by: first_rows(tmp_path_factory.mktemp("package"), by) for by in (0, 1)}


@pytest.mark.parametrize("moved_by", [0, 1])
@pytest.mark.parametrize("chunker", ["ChunkDataset", "ChunkStream"])
def test_training_and_streams_agree_with_feature2chunks(rows, chunker, moved_by):
    assert rows[moved_by][chunker] == rows[moved_by]["feature2chunks"]
    assert len(rows[moved_by][chunker]) > 50


@pytest.mark.parametrize("chunker", ["feature2chunks", "ChunkDataset", "ChunkStream"])
def test_a_moved_equation_moves_every_chunker(rows, chunker):
    before, after = rows[0][chunker], rows[1][chunker]
    both = before.keys() & after.keys()
    assert len(both) > 50
    assert all(after[frame] == before[frame] + 1 for frame in both)


@pytest.mark.parametrize("chunker", ["feature2chunks", "ChunkDataset", "ChunkStream"])
def test_the_equation_as_it_is_written(rows, chunker):
    assert all(row == 50 * frame // 30 - 4 for frame, row in rows[0][chunker].items())
