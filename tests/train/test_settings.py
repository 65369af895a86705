"""Inference takes its chunks as training did, or not at all."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from checkpoints import small_weights
from media import speech, write_media
from oracles import encoder_of
from stores import QUICK, make_store, rows_of

from musetools import ChunkDataset, FeatureStore, ParameterError, StoreError, audio2feat, feature2chunks
from musetools.timing import exact_fps
from musetools.train import ChunkSettings

QUICK_V1 = replace(QUICK, mel_peak="file", padding="mel", final_norm=False)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("media") / "speech.wav", speech(1.5), 44_100)


SETTINGS = [
    (25, (2, 2), "drop"),
    (29.97, (1, 3), "clamp"),
    (Fraction(30000, 1001), (0, 0), "zeros"),
    (None, (2, 2), "drop"),
]


@pytest.mark.parametrize(("fps", "context", "edge"), SETTINGS)
def test_a_dataset_knows_its_settings(store, fps, context, edge):
    settings = ChunkDataset(store, fps, context, edge=edge).settings
    assert settings == ChunkSettings(fps, list(context), edge)
    assert (settings.fps, settings.context, settings.edge) == (fps and exact_fps(fps), context, edge)
    assert ChunkSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    assert str(context) in str(settings)


def test_settings_have_the_defaults_of_a_dataset(store):
    assert ChunkDataset(store).settings == ChunkSettings()


@pytest.mark.parametrize(
    "plain",
    [None, [], {}, {"fps": "25"}, {"fps": "1/0", "context": [2, 2], "edge": "drop"}]
    + [{"fps": fps, "context": [2, 2], "edge": "drop"} for fps in ("x", "0", [], {})]
    + [{"fps": "25", "context": 2, "edge": "drop"}, {"fps": "25", "context": [2, 2], "edge": ["drop"]}],
    ids=str,
)
def test_what_are_no_settings(plain):
    with pytest.raises(ParameterError, match=r"chunk settings must be|fps must be|context must be|edge must be"):
        ChunkSettings.from_json(plain)


def test_making_a_dataset_writes_nothing(store):
    """A second dataset, over other chunks, changes nothing for the first one's inference."""
    before = {path: path.stat().st_mtime_ns for path in [store.root, *store.root.rglob("*")]}
    ChunkDataset(store)[0]
    ChunkDataset(store, 30, (0, 4), edge="zeros")[0]
    assert {path: path.stat().st_mtime_ns for path in [store.root, *store.root.rglob("*")]} == before


@pytest.mark.parametrize("text", ["", '{"fps": "30", "context": [2, 2], "edge": "drop"}'])
def test_what_an_earlier_version_wrote_down_is_not_read(store, small, text):
    (store.root / "cutting.json").write_text(text)
    opened = FeatureStore.open(store.root)
    assert opened.chunker(small, ChunkDataset(opened).settings).checked_rate() == 25
    assert opened.verify().ok


# --- the chunker


@pytest.mark.parametrize("settings", [None, (25, (2, 2), "drop")])
def test_what_are_no_settings_is_refused(store, small, settings):
    with pytest.raises(ParameterError, match="settings must be a ChunkSettings, such as dataset"):
        store.chunker(small, settings)


def test_other_weights_are_refused(store, small):
    other = encoder_of(small_weights(seed=1))
    with pytest.raises(StoreError, match="was made with weights") as caught:
        store.chunker(other, ChunkSettings())
    for encoder in (small, other):
        assert encoder.fingerprint[:12] in str(caught.value)


@pytest.mark.parametrize("edge", ["drop", "clamp", "zeros"])
@pytest.mark.parametrize("spec", [QUICK, QUICK_V1], ids=["v1.5", "v1"])
def test_it_gives_what_training_took(tmp_path, small, sound, edge, spec):
    store = FeatureStore.create(tmp_path / "store", spec, small)
    store.add("speech", sound, small)
    dataset = ChunkDataset(store, 29.97, (1, 2), edge=edge)
    chunks = FeatureStore.open(store.root).chunker(small, dataset.settings)(sound)
    inference = "clamp" if edge == "drop" else edge  # a video needs a chunk for every frame
    expected = feature2chunks(audio2feat(sound, small, spec=spec), 29.97, (1, 2), edge=inference)
    np.testing.assert_array_equal(chunks, expected)
    assert list(chunks.frames) == list(range(44))
    for item in dataset:
        np.testing.assert_array_equal(item["audio"], chunks[item["frame"]])


def test_it_takes_what_audio2feat_takes(tmp_path, small, sound):
    store = FeatureStore.create(tmp_path / "store", QUICK, small)
    store.add_rows("a", rows_of("a"))
    chunker = store.chunker(small, ChunkDataset(store).settings)
    with open(sound, "rb") as file:
        np.testing.assert_array_equal(chunker(file), chunker(str(sound)))
    assert len(chunker((np.zeros(16_000, np.float32), 16_000))) == 25


# --- rates


def test_one_rate_for_all_is_the_only_one(store, small):
    chunker = store.chunker(small, ChunkDataset(store, 29.97).settings)
    assert chunker.checked_rate() == chunker.checked_rate(29.97) == chunker.checked_rate(Fraction(30000, 1001))
    for fps in (25, 30, 29.98):
        with pytest.raises(ParameterError, match=rf"training took chunks at 29\.97 fps; got {fps}. Convert the video"):
            chunker("this is not even opened.wav", fps)


def test_each_clips_own_rate(tmp_path, small):
    store = make_store(tmp_path / "store", small)
    for clip, fps in (("a", 25), ("b", 29.97), ("c", 25)):
        store.add_rows(clip, rows_of(clip), fps=fps)
    chunker = store.chunker(small, ChunkDataset(store, None).settings)
    assert (chunker.checked_rate(25), chunker.checked_rate(29.97)) == (25, Fraction(30000, 1001))
    for fps in (None, 30):
        with pytest.raises(ParameterError, match=rf"training took chunks at 25, 29\.97 fps; got {fps}"):
            chunker.checked_rate(fps)
    with pytest.raises(ParameterError, match="fps must be a number"):
        chunker.checked_rate(0)


def test_a_rate_that_all_clips_share_need_not_be_named(store, small):
    assert store.chunker(small, ChunkDataset(store, None).settings).checked_rate() == 25
