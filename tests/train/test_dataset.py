"""A loader hands out the chunks of `feature2chunks`, bit for bit, whatever the order, the batch and the workers."""

import os
import pickle
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stores import QUICK, SHAPE, Together, epoch_growth, frames_seen, in_child, make_store, rank_share, rows_of
from torch.utils.data import ConcatDataset, DataLoader, Subset

from musetools import (
    ChunkDataset,
    FeatureStore,
    ParameterError,
    StoreError,
    audio2feat,
    chunk_rows,
    extract,
    feature2chunks,
)
from musetools.train import reading as module
from musetools.train.dataset import ChunkBatch

DATA = Path(__file__).resolve().parents[2] / "data"
OWN_RATES = {  # the sounds have no pictures; as if they belonged to videos of these rates
    "speech.flac": 24,
    "voice_a.m4a": 30,
    "voice_b.m4a": 25,
    "voice_c.m4a": Fraction(24000, 1001),
    "talker_25.mp4": 25,
    "talker_2997.mp4": Fraction(30000, 1001),
}
ALL_RATES = 24, 25, 29.97, 30, None  # None: each clip's own
# torch has started threads when a loader forks; from Python 3.12 on that is warned of
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


# --- every frame of every sample clip


@pytest.fixture(scope="module")
def samples(tmp_path_factory, encoder) -> FeatureStore:
    """The sample clips as `extract` stores them, and each clip's own frame rate."""
    root = tmp_path_factory.mktemp("samples")
    extracted = FeatureStore.create(root / "extracted", QUICK, encoder)
    assert extract([DATA], extracted, encoder, progress=False).ok
    store = FeatureStore.create(root / "store", QUICK, encoder)
    for clip, rate in OWN_RATES.items():
        record = extracted.record(clip)
        assert record.rate in (None, rate)
        store.add_rows(clip, extracted[clip], record.samples, fps=rate, n_frames=record.frames)
    assert set(store) == set(extracted)
    return store


@pytest.fixture(scope="module")
def sample_features(samples, encoder) -> dict[str, np.ndarray]:
    """Their features, read by numpy; those of one are made anew."""
    features = {clip: np.load(samples.path(clip)) for clip in samples}
    anew = audio2feat(DATA / "talker_25.mp4", encoder, spec=QUICK)
    np.testing.assert_array_equal(anew, features["talker_25.mp4"])
    return features


def expected_chunks(features: dict[str, np.ndarray], fps, edge: str) -> dict[tuple[str, int], np.ndarray]:
    """Every frame's chunk, as `feature2chunks` cuts it."""
    cut = {clip: feature2chunks(rows, fps or OWN_RATES[clip], edge=edge) for clip, rows in features.items()}
    return {
        (clip, frame): chunk for clip, chunks in cut.items() for frame, chunk in zip(chunks.frames, chunks, strict=True)
    }


def check(loader: DataLoader, expected: dict[tuple[str, int], np.ndarray]) -> None:
    """See that every frame comes once, as it should be."""
    seen = set()
    for batch in loader:
        assert batch["audio"].dtype == torch.float32
        for chunk, clip, frame in zip(batch["audio"].numpy(), batch["clip"], batch["frame"].tolist(), strict=True):
            assert chunk.tobytes() == expected[clip, frame].tobytes(), (clip, frame)
            seen.add((clip, frame))
    assert seen == set(expected)


@pytest.mark.parametrize(("fps", "batch_size"), [*((fps, 64) for fps in ALL_RATES), (29.97, 1), (29.97, 7)])
def test_every_sample_frame_without_workers(samples, sample_features, fps, batch_size):
    check(DataLoader(ChunkDataset(samples, fps), batch_size), expected_chunks(sample_features, fps, "drop"))


@pytest.mark.parametrize(("fps", "batch_size"), [*((fps, 64) for fps in ALL_RATES), (29.97, 7)])
def test_every_sample_frame_with_forked_workers(samples, sample_features, fps, batch_size):
    loader = DataLoader(ChunkDataset(samples, fps), batch_size, num_workers=2, multiprocessing_context="fork")
    check(loader, expected_chunks(sample_features, fps, "drop"))


def test_every_sample_frame_with_a_spawned_worker(samples, sample_features):
    """One worker, and one loader over all rates: to spawn takes seconds."""
    together = Together([ChunkDataset(samples, fps) for fps in ALL_RATES])
    expected = [item for fps in ALL_RATES for item in sorted(expected_chunks(sample_features, fps, "drop").items())]
    batches = together.batches(64)
    loader = DataLoader(together, batch_sampler=batches, num_workers=1, multiprocessing_context="spawn")
    assert sum(map(len, batches)) == len(expected)
    for indices, batch in zip(batches, loader, strict=True):
        for index, chunk, clip, frame in zip(indices, batch["audio"], batch["clip"], batch["frame"], strict=True):
            place, rows = expected[index]
            assert (clip, int(frame)) == place
            assert chunk.numpy().tobytes() == rows.tobytes(), place


@pytest.mark.parametrize("edge", ["clamp", "zeros"])
def test_every_sample_frame_with_other_edges(samples, sample_features, edge):
    for fps in (25, 29.97):
        loader = DataLoader(ChunkDataset(samples, fps, edge=edge), 64, shuffle=True)
        check(loader, expected_chunks(sample_features, fps, edge))


def test_frames_of_a_video_that_its_sound_outlasts(tmp_path, small):
    """A clip's own frame count bounds its frames, where the rate is its own."""
    store = make_store(tmp_path / "store", small)
    store.add_rows("a", rows_of("a"), fps=25, n_frames=20)
    assert len(ChunkDataset(store, edge="clamp")) == 20
    assert len(ChunkDataset(store)) == 18  # the sound goes on: only the first two lack neighbours
    assert len(ChunkDataset(store, 50, edge="clamp")) == 60


# --- against the equation


N_ROWS = [*range(1, 31), 75]


def test_frames_that_are_known_of_a_clip_whose_rate_is_not(tmp_path, small):
    store = FeatureStore.create(tmp_path / "store", QUICK, small)
    store.add_rows("a", rows_of("a"), n_frames=20)
    assert max(item["frame"] for item in ChunkDataset(store, edge="clamp")) == 19


@pytest.fixture(scope="module")
def many(tmp_path_factory, small) -> FeatureStore:
    """A clip of every small length."""
    store = make_store(tmp_path_factory.mktemp("many") / "store", small)
    for n_rows in N_ROWS:
        store.add_rows(f"rows_{n_rows}", rows_of(f"rows_{n_rows}", n_rows), fps=25)
    return store


def by_equation(features: np.ndarray, fps, context, edge: str, n_steps: int) -> list[tuple[int, np.ndarray]]:
    """Each sample's first frame and its chunks, gathered row by row."""
    rows = chunk_rows(len(features), fps, context, edge=edge)
    first = feature2chunks(features, fps, context, edge=edge).frames.start
    padded = np.concatenate([features, np.zeros((1, *SHAPE), np.float32)])  # row -1
    chunks = padded[rows].reshape(len(rows), rows.shape[1] * SHAPE[0], SHAPE[1])
    starts = range(len(rows) - n_steps + 1)
    return [(first + i, chunks[i] if n_steps == 1 else chunks[i : i + n_steps]) for i in starts]


RATES = st.sampled_from([1, 12, 15, 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60, 120, 24.97]) | st.fractions(1, 130)
SIDES = st.integers(0, 4)


@given(RATES, st.tuples(SIDES, SIDES), st.sampled_from(["drop", "clamp", "zeros"]), st.integers(1, 5))
def test_the_equation(many, fps, context, edge, n_steps):
    expected = [
        (clip, *sample)
        for clip in sorted(many)
        for sample in by_equation(np.array(many[clip]), fps, context, edge, n_steps)
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "31|.* clips are too short")
        try:
            dataset = ChunkDataset(many, fps, context, edge=edge, frames_per_sample=n_steps)
        except StoreError:
            assert not expected
            return
    assert len(dataset) == len(expected)
    batch = dataset.__getitems__(range(len(dataset)))
    assert list(zip(batch.clips, batch.frames, strict=True)) == [sample[:2] for sample in expected]
    np.testing.assert_array_equal(batch.audio.numpy(), np.stack([sample[2] for sample in expected]))


# --- one sample


def test_an_item(store):
    dataset = ChunkDataset(store)
    item = dataset[3]
    assert set(item) == {"audio", "clip", "frame"}
    assert (item["clip"], item["frame"]) == ("a", 5)
    assert item["audio"].shape == (20, 64)
    np.testing.assert_array_equal(item["audio"], rows_of("a")[6:16].reshape(20, 64))
    assert len(dataset) == 4 * (30 - 4)


def test_indices_count_from_both_ends(store):
    dataset = ChunkDataset(store)
    last = len(dataset) - 1
    assert (dataset[-1]["clip"], dataset[-1]["frame"]) == (dataset[last]["clip"], dataset[last]["frame"]) == ("d", 27)
    torch.testing.assert_close(dataset[-1]["audio"], dataset[last]["audio"], rtol=0, atol=0)
    assert dataset[-last - 1]["frame"] == dataset[0]["frame"] == 2
    for index in (last + 1, -last - 2, 10**9):
        with pytest.raises(IndexError, match=f"of {len(dataset)}"):
            dataset[index]
    with pytest.raises(IndexError):
        dataset.__getitems__([0, last + 1])


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, torch.tensor])
def test_whole_numbers_of_other_kinds(store, kind):
    dataset = ChunkDataset(store)
    item = dataset[kind(30)]
    assert (item["clip"], item["frame"]) == ("b", 6)
    assert type(item["frame"]) is int
    batch = dataset.__getitems__(np.arange(3))
    assert batch.frames == [2, 3, 4]


def test_a_sequence_ends(store):
    assert sum(1 for _ in ChunkDataset(store)) == len(ChunkDataset(store))


def test_an_empty_batch(store):
    batch = ChunkDataset(store).__getitems__([])
    assert len(batch) == 0
    assert batch.audio.shape == (0, 20, 64)


@pytest.mark.parametrize("index", [4, -5])
def test_a_batch_ends(store, index):
    batch = ChunkDataset(store).__getitems__(range(4))
    assert batch[-1]["frame"] == batch[3]["frame"] == 5
    assert len(list(batch)) == 4
    with pytest.raises(IndexError):
        batch[index]


def test_a_part_of_a_batch(store):
    """As a `collate_fn` may ask for it, which is handed a list by other datasets."""
    batch = ChunkDataset(store).__getitems__(range(4))
    assert [item["frame"] for item in batch[1:3]] == [3, 4]
    assert [item["frame"] for item in batch[::-2]] == [5, 3]


def test_a_number_between_two_items_is_none(store):
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        ChunkDataset(store)[2.7]


def test_samples_do_not_share_memory(store):
    dataset = ChunkDataset(store)
    dataset[0]["audio"].fill_(0)
    dataset.__getitems__([0, 0])[0]["audio"].fill_(0)
    np.testing.assert_array_equal(dataset[0]["audio"], rows_of("a")[:10].reshape(20, 64))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_samples_have_the_stores_type(tmp_path, small, dtype):
    dataset = ChunkDataset(make_store(tmp_path / "store", small, "a", dtype=dtype))
    assert dataset[0]["audio"].dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(dataset[0]["audio"], rows_of("a")[:10].reshape(20, 64).astype(dtype))


# --- consecutive frames, pictures


def test_consecutive_frames(store):
    single, dataset = ChunkDataset(store), ChunkDataset(store, frames_per_sample=5)
    assert len(dataset) == 4 * (26 - 4)
    assert dataset[22]["audio"].shape == (5, 20, 64)
    assert (dataset[22]["clip"], dataset[22]["frame"], dataset[21]["clip"]) == ("b", 2, "a")
    for step in range(5):
        np.testing.assert_array_equal(dataset[21]["audio"][step], single[21 + step]["audio"])
    batch = next(iter(DataLoader(dataset, 8)))
    assert batch["audio"].shape == (8, 5, 20, 64)
    assert batch["frame"].tolist() == list(range(2, 10))


def picture(clip: str, frame: int) -> torch.Tensor:
    return torch.full((3, 4, 4), ord(clip) * 1000 + frame)


def picture_and_mask(clip: str, frame: int) -> dict[str, torch.Tensor]:
    return {"face": picture(clip, frame), "mask": torch.tensor(frame)}


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_belong_to_their_chunks(store, workers):
    dataset = ChunkDataset(store, frames=picture)
    for batch in DataLoader(dataset, 16, shuffle=True, num_workers=workers):
        assert batch["picture"].shape == (len(batch["frame"]), 3, 4, 4)
        told = [ord(clip) * 1000 + frame for clip, frame in zip(batch["clip"], batch["frame"].tolist(), strict=True)]
        assert batch["picture"][:, 0, 0, 0].tolist() == told


def test_pictures_in_a_dict(store):
    dataset = ChunkDataset(store, frames=picture_and_mask)
    batch = next(iter(DataLoader(dataset, 4)))
    assert set(batch) == {"audio", "clip", "frame", "face", "mask"}
    assert batch["mask"].tolist() == batch["frame"].tolist()


@pytest.mark.parametrize("key", ["audio", "clip", "frame"])
def test_a_picture_takes_the_place_of_nothing(store, key):
    dataset = ChunkDataset(store, frames=lambda clip, frame: {key: picture(clip, frame)})
    with pytest.raises(ParameterError, match=f"other keys than an item's own; got {key} for clip 'b', frame 6"):
        dataset[30]


def test_arrays_and_numbers_of_consecutive_frames(store):
    def face(clip: str, frame: int) -> dict:
        return {"face": picture(clip, frame).numpy(), "s": frame / 25}

    batch = next(iter(DataLoader(ChunkDataset(store, frames=face, frames_per_sample=2), 4)))
    assert batch["face"].shape == (4, 2, 3, 4, 4)
    torch.testing.assert_close(batch["s"][0], torch.tensor([2 / 25, 3 / 25]), check_dtype=False)


def test_pictures_of_consecutive_frames(store):
    dataset = ChunkDataset(store, frames=picture, frames_per_sample=3)
    assert dataset[0]["picture"][:, 0, 0, 0].tolist() == [97_002, 97_003, 97_004]
    batch = next(iter(DataLoader(dataset, 4)))
    assert batch["picture"].shape == (4, 3, 3, 4, 4)
    dataset = ChunkDataset(store, frames=picture_and_mask, frames_per_sample=3)
    assert next(iter(DataLoader(dataset, 4)))["mask"].tolist() == [[2, 3, 4], [3, 4, 5], [4, 5, 6], [5, 6, 7]]


def test_pictures_of_another_rate_are_refused(store):
    with pytest.raises(ParameterError, match="clip 'a' has 25 fps, its images are not those of chunks at 30 fps"):
        ChunkDataset(store, 30, frames=picture)
    ChunkDataset(store, 30)  # chunks alone may be cut at any rate
    ChunkDataset(store, None, frames=picture)


def test_pictures_where_the_rate_is_not_known(tmp_path, small):
    store = make_store(tmp_path / "store", small)
    store.add_rows("a", rows_of("a"))
    assert len(ChunkDataset(store, 25, frames=picture)) == 26
    with pytest.raises(ParameterError, match="frame rate of clip 'a' is not known: add it with fps="):
        ChunkDataset(store, None)


# --- what cannot be


@pytest.mark.parametrize("fps", [0, 0.0, Fraction(0), -25, float("nan"), float("inf"), "25"])
def test_impossible_rates(store, fps):
    with pytest.raises(ParameterError, match="fps must be a number"):
        ChunkDataset(store, fps)


def test_a_path_is_no_store(store):
    with pytest.raises(ParameterError, match=r"a FeatureStore is needed; got .*Open it: musetools\.FeatureStore"):
        ChunkDataset(store.root)


@pytest.mark.parametrize(
    "how",
    [{"edge": "wrap"}, {"context": (2, -1)}, {"context": 2}, {"frames_per_sample": 0}, {"frames_per_sample": 1.5}],
)
def test_impossible_arguments(store, how):
    with pytest.raises(ParameterError, match=next(iter(how))):
        ChunkDataset(store, **how)


def test_short_clips_are_left_out(tmp_path, small):
    store = make_store(tmp_path / "store", small, "ab")
    for clip, n_rows in (("short", 9), ("long enough", 10), ("empty", 0)):
        store.add_rows(clip, rows_of(clip, n_rows))
    with pytest.warns(UserWarning, match="2 clips are too short for .*25 fps.*left out: 'empty', 'short'"):
        dataset = ChunkDataset(store)
    assert dataset.left_out == ("empty", "short")
    assert len(dataset) == 26 + 26 + 1
    assert dataset[-1]["clip"] == "long enough"


def test_items_do_not_depend_on_the_order_in_which_clips_came(tmp_path, small, store):
    other = make_store(tmp_path / "other", small, reversed(list(store)))
    other.add_rows("b", rows_of("b"), replace=True)  # as a clip that was made again
    assert ChunkDataset(other).fingerprint() == ChunkDataset(store).fingerprint()
    assert ChunkDataset(other)[0]["clip"] == ChunkDataset(store)[0]["clip"] == "a"


def test_the_fingerprint_knows_the_clips_own_rates(tmp_path, small):
    stores = [make_store(tmp_path / name, small, "b") for name in ("one", "two")]
    for store, fps in zip(stores, (25, 24.9), strict=True):
        store.add_rows("a", rows_of("a", 40), fps=fps)
        store.add_rows("b", rows_of("b"), fps=25, replace=True)
    one, two = (ChunkDataset(store, fps=None) for store in stores)
    assert len(one) == len(two)
    assert one.fingerprint() != two.fingerprint()


def test_no_clip_is_long_enough(tmp_path, small):
    store = make_store(tmp_path / "store", small, "ab", 9)
    with pytest.raises(StoreError, match=r"no clip among the 2 of .* is long enough for ChunkDataset"):
        ChunkDataset(store)
    with pytest.raises(StoreError, match="no clip among the 0"):
        ChunkDataset(make_store(tmp_path / "empty", small))


# --- how it sits in a loader


def test_collating_does_not_copy(store, monkeypatch):
    dataset, made = ChunkDataset(store), []
    read = dataset.__getitems__
    monkeypatch.setattr(ChunkDataset, "__getitems__", lambda self, indices: made.append(read(indices)) or made[-1])
    for batch in DataLoader(dataset, 16):
        assert isinstance(made[-1], ChunkBatch)
        assert batch["audio"].data_ptr() == made[-1].audio.data_ptr()
        assert isinstance(batch["frame"], torch.Tensor)
        assert isinstance(batch["clip"], list)


def test_shuffled_batches_are_seeded(store):
    dataset = ChunkDataset(store)
    orders = [
        [
            batch["frame"].tolist()
            for batch in DataLoader(dataset, 16, True, generator=torch.Generator().manual_seed(seed))
        ]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_a_subset(store):
    dataset, indices = ChunkDataset(store), [5, 100, 3, 3]
    loader = DataLoader(Subset(dataset, indices), 3)
    assert frames_seen(loader) == [(dataset[i]["clip"], dataset[i]["frame"]) for i in indices]
    assert next(iter(loader))["audio"].shape == (3, 20, 64)


@pytest.mark.parametrize("workers", [0, 2])
def test_two_stores_together(tmp_path, small, store, workers):
    other = make_store(tmp_path / "other", small, "xy")
    both = ConcatDataset([ChunkDataset(store), ChunkDataset(other)])
    loader = DataLoader(both, 16, num_workers=workers)
    assert frames_seen(loader) == [(clip, frame) for clip in "abcdxy" for frame in range(2, 28)]
    chunks = torch.cat([batch["audio"] for batch in loader]).numpy()
    np.testing.assert_array_equal(chunks[-26], rows_of("y")[:10].reshape(20, 64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs CUDA")
def test_pinned_memory(store):
    batch = next(iter(DataLoader(ChunkDataset(store), 16, pin_memory=True)))
    assert batch["audio"].is_pinned()
    np.testing.assert_array_equal(batch["audio"][0], rows_of("a")[:10].reshape(20, 64))


def test_pickling(store):
    dataset = ChunkDataset(store, None, (1, 3), edge="clamp", frames=picture, frames_per_sample=2)
    dataset[0]  # files are open by now
    again = pickle.loads(pickle.dumps(dataset))
    assert (len(again), again.settings, again.left_out) == (len(dataset), dataset.settings, dataset.left_out)
    assert (again[30]["clip"], again[30]["frame"]) == (dataset[30]["clip"], dataset[30]["frame"])
    for key in ("audio", "picture"):
        torch.testing.assert_close(again[30][key], dataset[30][key], rtol=0, atol=0)


def open_files(store: FeatureStore) -> int:
    """Count the store's files that this process has open."""
    links = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(link.startswith(str(store.root / "clips")) for link in links)


@pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc")
def test_few_files_stay_open(store, monkeypatch):
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    dataset = ChunkDataset(store)
    check_all(dataset)
    assert open_files(store) == 2
    batch = dataset.__getitems__([0, 30, 60, 90, 1])  # more clips in one batch than files may be open
    assert batch.clips == list("abcda")
    del dataset
    assert open_files(store) == 0  # and without a ResourceWarning


def test_a_thread_keeps_the_file_that_it_reads(store, monkeypatch):
    monkeypatch.setattr(module, "MAX_OPEN", 1)
    dataset, read, others = ChunkDataset(store), module._preadv, [30, 60]

    def after_other_threads(*where) -> int:
        if others:
            dataset[others.pop()]  # their files take the place of the one that is about to be read
        return read(*where)

    monkeypatch.setattr(module, "_preadv", after_other_threads)
    np.testing.assert_array_equal(dataset[0]["audio"], rows_of("a")[:10].reshape(20, 64))
    assert not others


def check_all(dataset: ChunkDataset) -> None:
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    for index in order:
        item = dataset[index]
        start = 2 * item["frame"] - 4
        np.testing.assert_array_equal(item["audio"], rows_of(item["clip"])[start : start + 10].reshape(20, 64))


@pytest.mark.parametrize(("length", "workers"), [(0, 0), (5000, 0), (-1, 0), (-1, 1)])
def test_a_file_that_shrinks_under_an_open_dataset(store, length, workers):
    dataset = ChunkDataset(store)
    dataset[50]
    path = store.path("b")
    with open(path, "r+b") as file:
        file.truncate(length if length >= 0 else path.stat().st_size - 1)
    with pytest.raises(StoreError, match=r"clip 'b': .*b\.npy"):
        list(DataLoader(dataset, 16, num_workers=workers))
    assert dataset[0]["clip"] == "a"


def test_a_damaged_clip_is_named(store):
    dataset = ChunkDataset(store)
    store.path("c").unlink()
    with pytest.raises(StoreError, match="clip 'c'"):
        frames_seen(DataLoader(dataset, 16))


def test_a_clip_that_is_replaced_is_read_as_it_was(store):
    """A dataset goes on with the file that it opened (F5)."""
    dataset = ChunkDataset(store)
    dataset[0]
    FeatureStore.open(store.root).add_rows("a", rows_of("z"), replace=True)
    np.testing.assert_array_equal(dataset[0]["audio"], rows_of("a")[:10].reshape(20, 64))


@pytest.mark.parametrize("by_itself", [True, False])  # by the dataset's own store, or by another process
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("n_rows", [50, 60, 70])
def test_a_clip_that_is_replaced_before_it_is_opened_is_named(store, by_itself, workers, n_rows):
    dataset = ChunkDataset(store)
    adds = store if by_itself else FeatureStore.open(store.root)
    adds.add_rows("b", rows_of("z", n_rows), replace=True)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"clip 'b' was replaced since .* was opened: open the store again"):
            list(DataLoader(dataset, 16, num_workers=workers))
    assert dataset[0]["clip"] == "a"
    assert len(ChunkDataset(FeatureStore.open(store.root))) == 3 * 26 + n_rows // 2 - 4


# --- several ranks


def test_a_real_group_of_two(store, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.start_processes(rank_share, (store.root, tmp_path), 2, start_method="forkserver")
    told = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    everything = {(clip, frame) for clip in "abcd" for frame in range(2, 28)}
    for epoch in range(2):
        one, other = (set(map(tuple, shares[epoch])) for shares, _ in told)
        assert one | other == everything
        assert not one & other
    assert told[0][0][0] != told[0][0][1]
    assert [count for _, count in told] == [len(everything)] * 2


# --- memory


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_an_epoch_leaves_the_store_on_the_disk(tmp_path, encoder):
    store = FeatureStore.create(tmp_path / "store", "musetools", encoder)
    for number in range(14):
        store.add_rows(str(number), np.full((2000, 5, 384), number, np.float32))
    growth = in_child(epoch_growth, store.root)
    size = store.size_mib()
    for clip in store:
        store.path(clip).unlink()  # pytest keeps the folder, nobody needs what is in it
    assert size > 200
    assert growth < 100


@pytest.mark.parametrize("missing", [("preadv",), ("preadv", "pread")])
def test_systems_without_preadv_read_the_same(tmp_path, small, monkeypatch, missing):
    """macOS may lack one, Windows both."""
    store = make_store(tmp_path / "store", small, "ab")
    expected = [item["audio"] for item in ChunkDataset(store, 25, edge="clamp")]
    for name in missing:
        monkeypatch.delattr(os, name)
    read = [item["audio"] for item in ChunkDataset(FeatureStore.open(store.root), 25, edge="clamp")]
    assert len(read) == len(expected) > 0
    assert all(torch.equal(*pair) for pair in zip(read, expected, strict=True))
