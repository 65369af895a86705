"""A contract that a training run saves: inference takes its chunks so, or not at all."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from checkpoints import small_weights
from oracles import encoder_of
from stores import QUICK, make_store, rows_of

import musetools
from musetools import (
    AudioContract,
    ChunkDataset,
    ContractError,
    FeatureStore,
    ParameterError,
    audio2feat,
    feature2chunks,
)
from musetools.timing import exact_fps
from musetools.train import ChunkSettings

QUICK_V1 = replace(QUICK, mel_peak="file", padding="mel", final_norm=False)


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
    assert str(context) in str(settings)


def test_settings_have_the_defaults_of_a_dataset(store):
    assert ChunkDataset(store).settings == ChunkSettings()


def test_making_a_dataset_writes_nothing(store):
    """A second dataset, over other chunks, changes nothing for the first one's inference."""
    before = {path: path.stat().st_mtime_ns for path in [store.root, *store.root.rglob("*")]}
    ChunkDataset(store)[0]
    ChunkDataset(store, 30, (0, 4), edge="zeros")[0]
    assert {path: path.stat().st_mtime_ns for path in [store.root, *store.root.rglob("*")]} == before


@pytest.mark.parametrize("text", ["", '{"fps": "30", "context": [2, 2], "edge": "drop"}'])
def test_what_an_earlier_version_wrote_down_is_not_read(store, text):
    (store.root / "cutting.json").write_text(text)
    opened = FeatureStore.open(store.root)
    assert opened.contract(ChunkDataset(opened).settings).checked_rate() == 25
    assert opened.verify().ok


# --- chunks for inference


@pytest.mark.parametrize("settings", [None, (25, (2, 2), "drop")])
def test_what_are_no_settings_is_refused(store, settings):
    with pytest.raises(ParameterError, match="settings must be a ChunkSettings, such as dataset"):
        store.contract(settings)


def test_other_weights_are_refused(store):
    other = encoder_of(small_weights(seed=1))
    contract = store.contract(ChunkSettings())
    for use in (lambda: contract.chunks("never opened.wav", other), lambda: store.contract(ChunkSettings(), other)):
        with pytest.raises(
            ContractError, match=r"was made with weights small: encoder\.fingerprint: .* here"
        ) as caught:
            use()
        for print_ in (other.fingerprint, store.provenance["encoder"]["fingerprint"]):
            assert print_ in str(caught.value)


@pytest.mark.parametrize("edge", ["drop", "clamp", "zeros"])
@pytest.mark.parametrize("spec", [QUICK, QUICK_V1], ids=["v1.5", "v1"])
def test_it_gives_what_training_took(tmp_path, small, sound, edge, spec):
    store = FeatureStore.create(tmp_path / "store", spec, small)
    store.add("speech", sound, small)
    dataset = ChunkDataset(store, 29.97, (1, 2), edge=edge)
    chunks = FeatureStore.open(store.root).contract(dataset.settings).chunks(sound, small)
    inference = "clamp" if edge == "drop" else edge  # a video needs a chunk for every frame
    expected = feature2chunks(audio2feat(sound, small, spec=spec), 29.97, (1, 2), edge=inference)
    np.testing.assert_array_equal(chunks, expected)
    assert list(chunks.frames) == list(range(44))
    for item in dataset:
        np.testing.assert_array_equal(item["audio"], chunks[item["frame"]])


def test_it_takes_what_audio2feat_takes(empty, small, sound):
    empty.add_rows("a", rows_of("a"))
    contract = empty.contract(ChunkDataset(empty, fps=25).settings)
    with open(sound, "rb") as file:
        np.testing.assert_array_equal(contract.chunks(file, small), contract.chunks(str(sound), small))
    assert len(contract.chunks((np.zeros(16_000, np.float32), 16_000), small)) == 25


# --- rates


def test_one_rate_for_all_is_the_only_one(store, small):
    contract = store.contract(ChunkDataset(store, 29.97).settings)
    assert contract.checked_rate() == contract.checked_rate(29.97) == contract.checked_rate(Fraction(30000, 1001))
    for fps in (25, 30, 29.98):
        with pytest.raises(ParameterError, match=rf"training took chunks at 29\.97 fps; got {fps}. Name one"):
            contract.chunks("this is not even opened.wav", small, fps)


def test_each_clips_own_rate(tmp_path, small):
    store = make_store(tmp_path / "store", small)
    for clip, fps in (("a", 25), ("b", 29.97), ("c", 25)):
        store.add_rows(clip, rows_of(clip), fps=fps)
    contract = store.contract(ChunkDataset(store, None).settings)
    assert (contract.checked_rate(25), contract.checked_rate(29.97)) == (25, Fraction(30000, 1001))
    for fps in (None, 30):
        with pytest.raises(ParameterError, match=rf"training took chunks at 25, 29\.97 fps; got {fps}"):
            contract.checked_rate(fps)
    with pytest.raises(ParameterError, match="fps must be a number"):
        contract.checked_rate(0)


def test_a_rate_that_all_clips_share_need_not_be_named(store):
    assert store.contract(ChunkDataset(store, None).settings).checked_rate() == 25


# --- a file beside the checkpoint


def saved(store: FeatureStore, encoder, path, **how) -> AudioContract:
    dataset = ChunkDataset(store, 29.97, (1, 2))
    store.contract(dataset.settings, encoder, **how).save(path)
    return AudioContract.load(path)


ELSEWHERE = """
import sys, torch, numpy as np
sys.path[:0] = {tests!r}
from checkpoints import small_weights
from oracles import encoder_of
from musetools import AudioContract
torch.set_num_threads(1)
contract = AudioContract.load(sys.argv[1])
np.save(sys.argv[3], np.asarray(contract.chunks(sys.argv[2], encoder_of(small_weights()))))
assert "musetools.train.store" not in sys.modules
"""


def test_a_process_without_the_store_makes_the_same_chunks(tmp_path, empty, small, sound):
    """To the bit, from nothing but the contract's file, the weights and the audio."""
    empty.add("speech", sound, small)
    dataset = ChunkDataset(empty, 29.97, (1, 2))
    saved(empty, small, tmp_path / "model.audio.json")
    items = {item["frame"]: item["audio"].numpy() for item in dataset}
    shutil.rmtree(empty.root)
    code = ELSEWHERE.format(tests=[str(Path(__file__).parents[1]), str(Path(musetools.__file__).parents[1])])
    files = [tmp_path / "model.audio.json", sound, tmp_path / "chunks.npy"]
    subprocess.run([sys.executable, "-c", code, *files], check=True)
    chunks = np.load(tmp_path / "chunks.npy")
    assert len(items) > 30
    for frame, audio in items.items():
        np.testing.assert_array_equal(audio, chunks[frame])


def test_a_dataset_takes_its_settings_from_a_contract(store, small, tmp_path):
    contract = saved(store, small, tmp_path / "c.json")
    dataset = ChunkDataset(store, contract=contract)
    assert dataset.settings == contract.settings == ChunkSettings(29.97, (1, 2))
    np.testing.assert_array_equal(dataset[3]["audio"], ChunkDataset(store, 29.97, (1, 2))[3]["audio"])
    assert ChunkDataset(store, 29.97, (1, 2), contract=contract).settings == contract.settings


@pytest.mark.parametrize("arguments", [(), (29.97, (1, 2))])
def test_the_path_of_a_contract_is_no_contract(store, arguments):
    with pytest.raises(ParameterError, match=r"a contract is needed; got 'c\.json'\. Load it"):
        ChunkDataset(store, *arguments, contract="c.json")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((30,), r"chunks\.fps: 30000/1001 here, 30 there"),
        ((29.97, (2, 2)), r"chunks\.context: \[1, 2\] here, \[2, 2\]"),
    ],
)
def test_a_dataset_with_other_arguments_is_refused(store, small, tmp_path, arguments, name):
    with pytest.raises(ContractError, match=name):
        ChunkDataset(store, *arguments, contract=saved(store, small, tmp_path / "c.json"))
    with pytest.raises(ContractError, match=r"chunks\.edge: drop here, zeros there"):
        ChunkDataset(store, 29.97, (1, 2), edge="zeros", contract=AudioContract.load(tmp_path / "c.json"))


@pytest.mark.parametrize(
    ("spec", "seed", "name"),
    [
        (replace(QUICK, final_norm=False), 0, "features.final_norm: True here, False there"),
        (replace(QUICK, padding="mel"), 0, "features.padding: audio here, mel there"),
        (replace(QUICK, mel_peak="file"), 0, "features.mel_peak: window here, file there"),
        (replace(QUICK, decoder="librosa"), 0, "features.decoder: timeline here, librosa there"),
        (QUICK, 1, "encoder.fingerprint"),
    ],
)
def test_a_store_that_was_made_otherwise_is_refused(tmp_path, small, spec, seed, name):
    ours = FeatureStore.create(tmp_path / "ours", QUICK, small)
    ours.add_rows("a", rows_of("a"), fps=25)
    contract = saved(ours, small, tmp_path / "c.json")
    other = FeatureStore.create(tmp_path / "other", spec, encoder_of(small_weights(seed=seed)))
    other.add_rows("a", rows_of("a"), fps=25)
    with pytest.raises(ContractError, match=re.escape(name)) as caught:
        ChunkDataset(other, contract=contract)
    assert str(caught.value).count(" here, ") == 1
    assert len(contract.differences(other.contract(contract.settings))) == 1
