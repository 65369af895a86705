"""What storage and loading cost: layouts hold the same chunks, figures and sentences agree with the numbers."""

import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure
from stores import make_store, rows_of
from torch.utils.data import DataLoader

from musetools import ChunkDataset, FeatureStore, ParameterError, extract
from musetools.lab import storage
from musetools.lab.storage import layouts
from musetools.lab.storage import measure as costs
from musetools.train.layouts import export_frame_files

VIDEO = Path(__file__).resolve().parents[3] / "data" / "talker_25.mp4"


@pytest.fixture
def store(tmp_path, small) -> FeatureStore:
    return make_store(tmp_path / "store", small, "abcd")


# --- the layouts


@pytest.mark.parametrize("lengths", [{"a": 60, "b": 61, "c": 10}, {"z": 30, "a": 31, "é": 40}])
def test_one_file_a_frame_gives_the_same_chunks(tmp_path, small, lengths):
    store = FeatureStore.create(tmp_path / "store", "musetools", small)
    for clip, n_rows in lengths.items():
        store.add_rows(clip, rows_of(clip, n_rows))
    export_frame_files(store, tmp_path / "files")
    frames, dataset = layouts.FrameFiles(tmp_path / "files"), ChunkDataset(store)
    assert len(frames) == len(dataset)
    ours = sorted(chunk.numpy().tobytes() for batch in DataLoader(dataset, 16) for chunk in batch["audio"])
    assert sorted(chunk.numpy().tobytes() for batch in DataLoader(frames, 16) for chunk in batch) == ours


def test_one_file_a_frame_misses_none(tmp_path, store):
    export_frame_files(store, tmp_path / "files")
    frames = layouts.FrameFiles(tmp_path / "files")
    (tmp_path / "files" / "a" / "6.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"6\.npy"):
        frames[2]


def test_chunks_on_disk_are_the_same(tmp_path, store):
    files, dataset = layouts.ChunkFiles(store, tmp_path), ChunkDataset(store)
    assert len(files) == len(dataset)
    assert all(torch.equal(files[index], dataset[index]["audio"]) for index in range(len(dataset)))


def test_layouts_hold_the_same_clips(tmp_path, small):
    made = layouts.make_layouts(tmp_path / "layouts", rows_of("a", 200), small, 2, 3)
    assert list(made) == ["one npy a frame", "chunks, mapped", "store, float32", "store, float16"]
    assert {len(dataset) for dataset in made.values()} == {2 * (75 - 4)}
    np.testing.assert_array_equal(made["store, float32"].store["clip_00001"], rows_of("a", 200)[1:151])
    reference = made["store, float32"][5]["audio"]
    assert torch.equal(made["one npy a frame"][5], reference)
    assert torch.equal(made["chunks, mapped"][5], reference)
    assert torch.equal(made["store, float16"][5]["audio"], reference.half())
    assert all(storage.loading_rate(dataset, 142) > 0 for dataset in made.values())


# --- measurements


@pytest.mark.parametrize("scale", [1e-6, 1, 100])
def test_the_error_of_float16(scale):
    features = (scale * np.random.default_rng(0).normal(size=(50, 3, 20))).astype(np.float32)
    features[:, 1] *= 10
    for layer, error in enumerate(storage.float16_error(features)):
        values = features[:, layer].ravel().astype(float)
        largest = max(abs(value - float(np.float16(np.float32(value)))) for value in values)
        assert error == pytest.approx(largest / np.sqrt(np.mean((values - values.mean()) ** 2)), rel=1e-4)
    assert not storage.float16_error(np.arange(60, dtype=np.float32).reshape(10, 2, 3)).any()  # they fit


class Counted(torch.utils.data.Dataset):
    """Items that record which of them were asked for."""

    def __init__(self, n: int):
        self.n, self.asked = n, []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> torch.Tensor:
        self.asked.append(index)
        return torch.zeros(1)


@pytest.mark.parametrize(("n", "n_items"), [(1000, 640), (300, 250), (200, 64), (21, 21)])
def test_a_rate_is_measured_over_so_many_items_after_as_many_to_warm_up(n, n_items):
    """A clip of one second has 21 items; the notebook allows that."""
    counted = Counted(n)
    assert storage.loading_rate(counted, n_items) > 0
    assert sorted(counted.asked) == sorted(2 * counted.asked[:n_items])
    assert len(set(counted.asked)) == n_items


# --- images


@pytest.fixture(scope="module")
def videos(tmp_path_factory, small) -> FeatureStore:
    store = FeatureStore.create(tmp_path_factory.mktemp("videos") / "store", "musetools", small)
    assert extract([VIDEO], store, small, progress=False).ok
    return store


def test_images_of_a_video(videos):

    images = storage.VideoFrames(videos, size=32)
    with av.open(str(VIDEO)) as container:
        frames = [frame.reformat(32, 32, "rgb24").to_ndarray() for frame in container.decode(video=0)]
    for frame in (0, 7, 300):
        image = images("talker_25.mp4", frame)
        assert (image.shape, image.dtype) == ((3, 32, 32), torch.uint8)
        np.testing.assert_array_equal(image.permute(1, 2, 0), frames[frame])
    dataset = ChunkDataset(videos, None, frames=images)
    batch = next(iter(DataLoader(dataset, 8, shuffle=True)))
    assert (batch["picture"].shape, batch["audio"].shape) == ((8, 3, 32, 32), (8, 20, 64))
    assert len(dataset) == 301 - 4


def test_a_clip_without_a_moving_picture_has_no_images(tmp_path, small):
    store = FeatureStore.create(tmp_path / "store", "musetools", small)
    assert extract([VIDEO.with_name("speech.flac")], store, small, progress=False).ok
    with pytest.raises(ParameterError, match=r"speech\.flac has no moving picture"):
        storage.VideoFrames(store)("speech.flac", 0)


def test_a_video_is_decoded_once_and_few_are_kept(videos):
    layouts._images.cache_clear()
    images = storage.VideoFrames(videos, size=16)
    for frame in range(5):
        images("talker_25.mp4", frame)
    assert layouts._images.cache_info()[:3] == (4, 1, layouts.KEPT_VIDEOS)


# --- tables, figures, sentences


@pytest.fixture(scope="module")
def sizes(videos, small, tmp_path_factory) -> dict[str, int]:
    return storage.clip_sizes(videos, "talker_25.mp4", small, tmp_path_factory.mktemp("sizes") / "layouts")


NAMES = costs.SOURCE, costs.PCM, costs.FLOAT16, costs.FLOAT32, costs.FRAMES, costs.CHUNKS
ANSWER = storage.StorageCosts(
    duration_s=12,
    hours=100,
    sizes=dict(zip(NAMES, (200_000, 400_000, 4_600_000, 9_200_000, 11_960_000, 45_080_000), strict=True)),
    errors=np.array([0.0004, 0.0013, 0.0009]),
    rates={"one npy a frame": 1000.0, "chunks, mapped": 9000.0, "store, float32": 61_000.0, "store, float16": 92_500.0},
    worker_rates={0: 60_000.0, 1: 15_000.0, 2: 24_000.0},
    store_mib=29.4,
    epoch_mib=5.6,
)


def test_sizes_are_what_they_must_be(sizes, videos):
    record = videos.record("talker_25.mp4")
    values = record.rows * 2 * 64
    assert VIDEO.stat().st_size / 2 < sizes[costs.SOURCE] < VIDEO.stat().st_size * 2 / 3  # its sound alone
    for name, expected in (
        (costs.PCM, 2 * record.samples),
        (costs.FLOAT32, 4 * values),
        (costs.FLOAT16, 2 * values),
        (costs.CHUNKS, 4 * (record.rows // 2 - 4) * 10 * 128),
    ):
        assert expected < sizes[name] < 1.05 * expected + 4 * 4096, name
    assert sizes[costs.FRAMES] > sizes[costs.FLOAT32]


FIGURES = {
    "sizes": (
        storage.size_figure(ANSWER.sizes, ANSWER.duration_s, ANSWER.hours),
        "GB on the disk for 100 h",
        ("take 23 times", "6 GB", "12 GB", "138 GB", "276 GB", "359 GB", "1,352 GB"),
    ),
    "float16": (
        storage.float16_figure(ANSWER.errors, weights="untrained-tiny"),
        "thousandths of a standard deviation",
        ("off by 0.0013 standard deviations at most · weights: untrained-tiny", "0.40", "1.30", "0.90"),
    ),
    "rates": (
        storage.rate_figure(ANSWER.rates),
        "thousand items per second, no workers",
        ("store, float16 loads 92 times as fast as one npy a frame", "61.0 thousand, 61×", "9.0 thousand, 9×"),
    ),
    "workers": (
        storage.worker_figure(ANSWER.worker_rates),
        "thousand items per second, store in float32",
        ("fastest with 0 workers", "60.0 thousand", "24.0 thousand"),
    ),
}


@pytest.mark.parametrize(("figure", "unit", "words"), FIGURES.values(), ids=FIGURES)
def test_a_figure_has_title_unit_legend_and_a_number_for_each_bar(figure: Figure, unit, words):
    (axes,) = figure.axes
    assert unit in axes.get_xlabel()
    assert len([label for label in axes.get_yticklabels() if label.get_text()]) == len(axes.patches)
    assert len(axes.texts) == len(axes.patches)
    assert figure.legends
    written = "\n".join([axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)])
    assert all(word in written for word in words), written
    figure.canvas.draw()


def test_the_table_of_sizes():
    table = storage.size_table(ANSWER.sizes, 12, 100)
    assert table.head[1:3] == ["12.00 s", "100 h"]
    assert [line[0] for line in table.lines] == list(ANSWER.sizes)
    for line, n in zip(table.lines, ANSWER.sizes.values(), strict=True):
        assert float(line[1].split()[0]) == pytest.approx(n / 1e6, abs=0.005)
        assert float(line[2].split()[0]) == pytest.approx(n * 30_000 / 1e9, abs=0.05)
        assert float(line[3]) == pytest.approx(n / 400_000, rel=0.05)


def test_the_sentences_hold_the_numbers():
    found = [re.findall(r"\d[\d,]*(?:\.\d+)?", sentence) for sentence in ANSWER.sentences()]
    assert found == [
        ["23", "16", "46", "276", "100"],
        ["61", "16", "92"],
        ["16", "0.0013"],
        ["29", "6"],
    ]


def test_claims_are_judged_by_their_numbers():
    lines = ANSWER.table().lines
    factors = [float(line[2]) for line in lines]
    assert factors == sorted(factors, reverse=True)
    assert {line[0]: (float(line[2]), line[4]) for line in lines} == {
        "features are smaller than audio": (23, "no"),
        "features are smaller than chunks": (4.9, "yes"),
        "one file a frame costs no space": (1.3, "no"),
        "float16 halves the size": (0.5, "yes"),
        "more workers load faster": (0.4, "no"),
        "chunking while loading is slow": (0.016, "no"),
        "float16 loses quality": (0.0013, "no"),
    }
    assert all(claim in repr(ANSWER) for claim, *_ in lines)


def test_bars_of_sizes_begin_at_nothing():
    (axes,) = storage.size_figure(ANSWER.sizes, ANSWER.duration_s, ANSWER.hours).axes
    assert axes.get_xscale() == "linear"
    assert axes.get_xlim()[0] == 0


def test_a_video_that_was_replaced_is_decoded_again(tmp_path, small):
    path, store = tmp_path / "a.mp4", FeatureStore.create(tmp_path / "store", "musetools", small)
    shutil.copy(VIDEO, path)
    assert extract([path], store, small, progress=False).ok
    (clip,) = store.clips
    first = storage.VideoFrames(store, size=8)(clip, 0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        black = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        container.mux([*stream.encode(black), *stream.encode()])
    assert not np.array_equal(storage.VideoFrames(store, size=8)(clip, 0), first)


@pytest.mark.parametrize("given", [{"hours": 0}, {"n_clips": 0}, {"seconds": 0.9}, {"n_items": 499}])
def test_numbers_out_of_range_are_refused_before_anything_is_written(given, tmp_path, store, small):
    (name,) = given
    with pytest.raises(ParameterError, match=rf"{name} must be [\d.]+ or more; got"):
        storage.evaluate(store, small, tmp_path / "work", **given)
    assert not (tmp_path / "work").exists()


def test_the_videos_of_a_folder(tmp_path):
    sound, video, broken = (tmp_path / name for name in ("sound.wav", "video.mkv", "broken.mkv"))
    soundfile.write(sound, np.zeros(16_000, np.float32), 16_000)
    with pytest.raises(ParameterError, match="no video with sound among 1 media files"):
        storage.videos_in(tmp_path)
    shutil.copy(VIDEO, video)
    broken.write_bytes(b"nothing")  # which `extract` reports
    assert storage.videos_in(tmp_path) == [broken, video]
