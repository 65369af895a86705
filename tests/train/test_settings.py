"""Inference is cut as training was, or not at all."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from checkpoints import small_weights
from media import speech, write_media
from oracles import encoder_of
from stores import QUICK, make_store, rows_of

from musetools import ChunkDataset, FeatureStore, ParameterError, StoreError, audio2feat, feature2chunks
from musetools.train.settings import Cutting

QUICK_V1 = replace(QUICK, mel_peak="file", padding="mel", final_norm=False)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("media") / "speech.wav", speech(1.5), 44_100)


CUTTINGS = [
    (25, (2, 2), "drop"),
    (29.97, (1, 3), "clamp"),
    (Fraction(30000, 1001), (0, 0), "zeros"),
    (None, (2, 2), "drop"),
]


@pytest.mark.parametrize(("fps", "context", "edge"), CUTTINGS)
def test_a_dataset_writes_down_how_it_cuts(store, fps, context, edge):
    assert store.cutting is None
    dataset = ChunkDataset(store, fps, context, edge=edge)
    cutting = FeatureStore.open(store.root).cutting
    assert cutting == dataset.cutting
    assert cutting == Cutting(Fraction(30000, 1001) if fps == 29.97 else fps, context, edge)
    assert Cutting.from_json(cutting.to_json()) == cutting


def test_the_same_cutting_again_changes_nothing(store):
    ChunkDataset(store)
    before = (store.root / "cutting.json").stat()
    ChunkDataset(store)
    after = (store.root / "cutting.json").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_another_cutting_is_told(store):
    """Whoever looks at a store at another rate must not silently change what inference is built with."""
    ChunkDataset(store, 25)
    with pytest.warns(UserWarning, match="25.*30|30.*25"):
        ChunkDataset(store, 30)


def test_a_dataset_over_a_store_that_is_only_read(store, monkeypatch):
    """Training reads features from a folder that it may not write to (F22)."""

    def refused(*given, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.warns(UserWarning, match="Permission denied"):
        assert len(ChunkDataset(store)) == 104


# --- the chunker


def test_nothing_was_cut_yet(store, small):
    with pytest.raises(StoreError, match=r"nothing was cut from .* yet: make a ChunkDataset of it first"):
        store.chunker(small)


def test_other_weights_are_refused(store, small):
    ChunkDataset(store)
    other = encoder_of(small_weights(seed=1))
    with pytest.raises(StoreError, match="was made with weights") as caught:
        store.chunker(other)
    for encoder in (small, other):
        assert encoder.fingerprint[:12] in str(caught.value)


@pytest.mark.parametrize("edge", ["drop", "clamp", "zeros"])
@pytest.mark.parametrize("spec", [QUICK, QUICK_V1], ids=["v1.5", "v1"])
def test_it_cuts_what_training_cut(tmp_path, small, sound, edge, spec):
    store = FeatureStore.create(tmp_path / "store", spec, small)
    store.add("speech", sound, small)
    dataset = ChunkDataset(store, 29.97, (1, 2), edge=edge)
    chunks = FeatureStore.open(store.root).chunker(small)(sound)
    inference = "clamp" if edge == "drop" else edge  # a video needs a chunk for every frame
    expected = feature2chunks(audio2feat(sound, small, spec=spec), 29.97, (1, 2), edge=inference)
    np.testing.assert_array_equal(chunks, expected)
    assert list(chunks.frames) == list(range(44))
    for item in dataset:
        np.testing.assert_array_equal(item["audio"], chunks[item["frame"]])


def test_it_takes_what_audio2feat_takes(tmp_path, small, sound):
    store = FeatureStore.create(tmp_path / "store", QUICK, small)
    store.add_rows("a", rows_of("a"))
    ChunkDataset(store)
    chunker = store.chunker(small)
    with open(sound, "rb") as file:
        np.testing.assert_array_equal(chunker(file), chunker(str(sound)))
    assert len(chunker((np.zeros(16_000, np.float32), 16_000))) == 25


# --- rates


def test_one_rate_for_all_is_the_only_one(store, small):
    ChunkDataset(store, 29.97)
    chunker = store.chunker(small)
    assert chunker.checked_rate() == chunker.checked_rate(29.97) == chunker.checked_rate(Fraction(30000, 1001))
    for fps in (25, 30, 29.98):
        with pytest.raises(ParameterError, match=rf"training cut chunks at 29\.97 fps; got {fps}. Convert the video"):
            chunker("this is not even opened.wav", fps)


def test_each_clips_own_rate(tmp_path, small):
    store = make_store(tmp_path / "store", small)
    for clip, fps in (("a", 25), ("b", 29.97), ("c", 25)):
        store.add_rows(clip, rows_of(clip), fps=fps)
    ChunkDataset(store, None)
    chunker = store.chunker(small)
    assert (chunker.checked_rate(25), chunker.checked_rate(29.97)) == (25, Fraction(30000, 1001))
    for fps in (None, 30):
        with pytest.raises(ParameterError, match=rf"training cut chunks at 25, 29\.97 fps; got {fps}"):
            chunker.checked_rate(fps)
    with pytest.raises(ParameterError, match="fps must be a number"):
        chunker.checked_rate(0)


def test_a_rate_that_all_clips_share_need_not_be_named(store, small):
    ChunkDataset(store, None)
    assert store.chunker(small).checked_rate() == 25
