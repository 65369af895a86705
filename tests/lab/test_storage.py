"""What storage and loading cost: layouts hold the same chunks, figures say what they show, words match numbers."""

import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from stores import make_store, rows_of
from torch.utils.data import DataLoader

from musetools import ChunkDataset, FeatureStore, extract
from musetools.lab import storage
from musetools.lab.process import resident_mib
from musetools.lab.storage import layouts
from musetools.lab.storage import measure as costs
from musetools.train.layouts import export_frame_files

VIDEO = Path(__file__).resolve().parents[2] / "data" / "talker_25.mp4"


@pytest.fixture
def store(tmp_path, small) -> FeatureStore:
    return make_store(tmp_path / "store", small, "abcd")


# --- the layouts


@pytest.mark.parametrize("lengths", [{"a": 60, "b": 61, "c": 10, "d": 9}, {"z": 30, "a": 31, "é": 40}])
def test_one_file_a_frame_gives_the_same_chunks(tmp_path, small, lengths):
    store = FeatureStore.create(tmp_path / "store", "musetools", small)
    for clip, n_rows in lengths.items():
        store.add_rows(clip, rows_of(clip, n_rows))
    export_frame_files(store, tmp_path / "files")
    frames = storage.FrameFiles(tmp_path / "files")
    if "d" in lengths:
        with pytest.warns(UserWarning, match="left out: 'd'"):
            dataset = ChunkDataset(store)
    else:
        dataset = ChunkDataset(store)
    assert len(frames) == len(dataset)
    ours = sorted(chunk.numpy().tobytes() for batch in DataLoader(dataset, 16) for chunk in batch["audio"])
    assert sorted(chunk.numpy().tobytes() for batch in DataLoader(frames, 16) for chunk in batch) == ours


def test_one_file_a_frame_misses_none(tmp_path, store):
    export_frame_files(store, tmp_path / "files")
    frames = storage.FrameFiles(tmp_path / "files")
    (tmp_path / "files" / "a" / "6.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"6\.npy"):
        frames[2]


def test_chunks_on_disk_are_the_same(tmp_path, store):
    for fps in (25, 30):
        (tmp_path / str(fps)).mkdir()
        files, dataset = storage.ChunkFiles(store, tmp_path / str(fps), fps), ChunkDataset(store, fps)
        assert len(files) == len(dataset)
        for index in range(len(dataset)):
            assert torch.equal(files[index], dataset[index]["audio"])


def test_a_store_is_filled_with_clips_of_a_length(tmp_path, small):
    store = make_store(tmp_path / "store", small)
    storage.fill_store(store, rows_of("a"), 3, 2.5)
    assert [store.record(clip).duration_s for clip in store] == [2.5] * 3
    np.testing.assert_array_equal(store["clip_00001"], rows_of("a")[(np.arange(125) + 1) % 60])


# --- measurements


@pytest.mark.parametrize("scale", [1e-6, 1, 100])
def test_the_error_of_float16(scale):
    features = (scale * np.random.default_rng(0).normal(size=(50, 3, 20))).astype(np.float32)
    features[:, 1] *= 10
    for layer, error in enumerate(storage.float16_error(features)):
        values = features[:, layer].ravel().astype(float)
        largest = max(abs(value - float(np.float16(np.float32(value)))) for value in values)
        assert error == pytest.approx(largest / np.sqrt(np.mean((values - values.mean()) ** 2)), rel=1e-4)


def test_what_fits_float16_has_no_error():
    assert not storage.float16_error(np.arange(60, dtype=np.float32).reshape(10, 2, 3)).any()


def test_disk_bytes_are_whole_blocks(tmp_path):
    for name, size in (("one", 1), ("page", 4096), ("more", 4097)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert storage.disk_bytes([]) == 0
    for path in tmp_path.iterdir():
        assert storage.disk_bytes([path]) >= path.stat().st_size
        assert storage.disk_bytes([path]) % 512 == 0
    assert storage.disk_bytes(tmp_path.iterdir()) == sum(storage.disk_bytes([path]) for path in tmp_path.iterdir())


class Counted(torch.utils.data.Dataset):
    """Samples that tell how many were asked for."""

    def __init__(self, n: int):
        self.n, self.asked = n, []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> torch.Tensor:
        self.asked.append(index)
        return torch.zeros(1)


@pytest.mark.parametrize(("n", "n_samples"), [(1000, 640), (300, 250), (200, 64), (21, 21)])
def test_a_rate_is_above_zero(n, n_samples):
    """A clip of one second has 21 samples; the notebook allows that."""
    counted = Counted(n)
    assert storage.loading_rate(counted, n_samples) > 0
    assert sorted(counted.asked) == sorted(2 * counted.asked[:n_samples])
    assert len(set(counted.asked)) == n_samples


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_resident_growth():
    fresh = mmap.mmap(-1, 50 * 2**20)  # an array might get memory that is free, and resident, already
    assert 45 < storage.resident_growth(lambda: np.frombuffer(fresh, np.uint8).fill(1)) < 70
    assert resident_mib() > 50


# --- pictures


@pytest.fixture(scope="module")
def films(tmp_path_factory, small) -> FeatureStore:
    store = FeatureStore.create(tmp_path_factory.mktemp("films") / "store", "musetools", small)
    assert extract([VIDEO], store, small, progress=False).ok
    return store


def test_pictures_of_a_film(films):
    import av

    pictures = storage.VideoFrames(films, size=32)
    shown = [pictures("talker_25.mp4", frame) for frame in (0, 7, 300)]
    assert all((picture.shape, picture.dtype) == ((3, 32, 32), torch.uint8) for picture in shown)
    with av.open(str(VIDEO)) as container:
        frames = [frame.reformat(32, 32, "rgb24").to_ndarray() for frame in container.decode(video=0)]
    for picture, frame in zip(shown, (0, 7, 300), strict=True):
        np.testing.assert_array_equal(picture.permute(1, 2, 0), frames[frame])


def test_pictures_in_a_loader(films):
    dataset = ChunkDataset(films, None, frames=storage.VideoFrames(films, size=32))
    batch = next(iter(DataLoader(dataset, 8, shuffle=True)))
    assert batch["picture"].shape == (8, 3, 32, 32)
    assert batch["audio"].shape == (8, 20, 64)
    assert len(dataset) == 301 - 4


def test_a_film_is_decoded_once_and_few_are_kept(films, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        storage.VideoFrames, "_decode", lambda self, path: decoded.append(path) or torch.zeros(9, 3, 4, 4)
    )
    monkeypatch.setattr(FeatureStore, "record", lambda self, clip: type("Record", (), {"source": {"path": clip}}))
    pictures = storage.VideoFrames(films)
    for clip in "aabbcdaeae":
        pictures(clip, 0)
    assert decoded == [*"abcde", "a"]  # the fifth film replaces the first
    assert len(pictures._decoded) == layouts.KEPT_VIDEOS


# --- tables, figures, sentences


@pytest.fixture(scope="module")
def sizes(films, small, tmp_path_factory) -> dict[str, int]:
    return costs.clip_sizes(films, "talker_25.mp4", small, tmp_path_factory.mktemp("sizes") / "layouts")


RATES = {"one npy a frame": 1000.0, "chunks, mapped": 9000.0, "store, float32": 61_000.0, "store, float16": 92_500.0}
WORKERS = {0: 60_000.0, 1: 15_000.0, 2: 24_000.0}
ERRORS = np.array([0.0004, 0.0013, 0.0009])


def test_sizes_are_what_they_must_be(sizes, films):
    rows = films.record("talker_25.mp4").rows
    values = rows * 2 * 64
    assert sizes[costs.SOURCE] >= VIDEO.stat().st_size
    for name, expected in (
        (costs.PCM, 2 * films.record("talker_25.mp4").samples),
        (costs.FLOAT32, 4 * values),
        (costs.FLOAT16, 2 * values),
        (costs.CHUNKS, 4 * (rows // 2 - 4) * 10 * 128),
    ):
        assert expected < sizes[name] < 1.05 * expected + 4 * 4096, name
    assert sizes[costs.FRAMES] > sizes[costs.FLOAT32]


def words(figure: Figure) -> str:
    texts = [axes.get_title(loc="left") + axes.get_title() for axes in figure.axes]
    texts += [text.get_text() for axes in figure.axes for text in axes.texts]
    return "\n".join(texts)


def check_figure(figure: Figure, unit: str) -> None:
    """Title, units on the axis of numbers, and a name on every bar: by its tick or in a legend."""
    (axes,) = figure.axes
    assert axes.get_title() or axes.get_title(loc="left")
    assert unit in axes.get_xlabel() + axes.get_ylabel()
    labels = axes.get_yticklabels() if axes.get_xlabel() else axes.get_xticklabels()
    assert len([label for label in labels if label.get_text()]) == len(axes.patches)
    assert len(axes.texts) == len(axes.patches)  # each bar says its number
    assert axes.get_legend() or figure.legends  # and its colour is explained
    figure.canvas.draw()


def test_the_figure_of_sizes(sizes):
    figure = storage.size_figure(sizes, 12.04, 100)
    check_figure(figure, "GB on the disk for 100 h")
    assert f"{sizes[costs.FLOAT32] / sizes[costs.PCM]:.0f} times" in words(figure)
    for n in sizes.values():
        assert f"{n * 100 * 3600 / 12.04 / 1e9:,.0f} GB" in words(figure)


def test_the_figure_of_float16():
    figure = storage.float16_figure(ERRORS, weights="untrained-tiny")
    check_figure(figure, "standard deviation")
    assert "off by 0.0013 standard deviations at most" in words(figure)
    assert "untrained-tiny" in words(figure)


def test_the_figure_of_rates():
    figure = storage.rate_figure(RATES)
    check_figure(figure, "items per second")
    assert "store, float16 loads 92 times as fast as one npy a frame" in words(figure)
    assert "61.0 thousand, 61×" in words(figure)


def test_the_figure_of_workers():
    figure = storage.worker_figure(WORKERS)
    check_figure(figure, "items per second")
    assert "fastest with 0 workers" in words(figure)


def test_the_table_of_sizes(sizes):
    table = storage.size_table(sizes, 12.04, 100)
    assert table.head[1:3] == ["12.04 s", "100 h"]
    assert [line[0] for line in table.lines] == list(sizes)
    for line, n in zip(table.lines, sizes.values(), strict=True):
        assert float(line[1].split()[0]) == pytest.approx(n / 1e6, abs=0.005)
        assert float(line[2].split()[0]) == pytest.approx(n * 360_000 / 12.04 / 1e9, abs=0.05)
        assert float(line[3]) == pytest.approx(n / sizes[costs.PCM], rel=0.05)


def numbers(sentence: str) -> list[float]:
    return [float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*(?:\.\d+)?", sentence)]


def test_sentences_on_sizes_agree_with_the_numbers():
    names = costs.SOURCE, costs.PCM, costs.FLOAT16, costs.FLOAT32, costs.FRAMES, costs.CHUNKS
    made = dict(zip(names, (200_000, 400_000, 4_600_000, 9_200_000, 11_960_000, 45_080_000), strict=True))
    larger, smaller, frames, half = costs.size_sentences(made, 12, 100)
    assert numbers(larger)[:1] == [23]
    assert 46 in numbers(larger)
    assert 276 in numbers(larger)  # GB for 100 h
    assert 4.9 in numbers(smaller)
    assert 1.3 in numbers(frames)
    assert numbers(half) == [16, 0.5, 32]


def test_sentences_on_loading_agree_with_the_numbers():
    layout, chunks, workers, error = costs.loading_sentences(RATES, WORKERS, ERRORS)
    assert "61 times as fast" in layout
    assert "92 times" in layout
    assert "9 times as fast" in chunks
    assert "With 2 workers" in workers
    assert "0.40 times" in workers
    assert "0.0013 standard deviations" in error


def test_layouts_hold_the_same_clips(tmp_path, small):
    made = storage.make_layouts(tmp_path / "layouts", rows_of("a", 200), small, 2, 3)
    assert list(made) == ["one npy a frame", "chunks, mapped", "store, float32", "store, float16"]
    assert {len(dataset) for dataset in made.values()} == {2 * (75 - 4)}
    reference = made["store, float32"][5]["audio"]
    assert torch.equal(made["one npy a frame"][5], reference)
    assert torch.equal(made["chunks, mapped"][5], reference)
    assert torch.equal(made["store, float16"][5]["audio"], reference.half())
    rates = {name: storage.loading_rate(dataset, 142) for name, dataset in made.items()}
    assert all(rate > 0 for rate in rates.values())
