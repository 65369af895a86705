"""`dtype="auto"`: measured once for a machine, kept, measured anew where the file is damaged."""

import json
from functools import partial

import pytest
import torch
from checkpoints import save_openai

from musetools import FeatureStore, StoreError, load_encoder
from musetools.features import fastest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "musetools" / "fastest.json"


@pytest.fixture
def measurements(monkeypatch):
    """Give out what was asked for and count how often."""
    asked = []

    def measure(passes):
        asked.append(sorted(passes))
        return {"float32": 0.2, "bfloat16": 0.1}

    monkeypatch.setattr(fastest, "_measure", measure)
    return asked


@pytest.fixture
def automatic(weights, tmp_path):
    """Load a small encoder, whose type is chosen."""
    return partial(load_encoder, save_openai(tmp_path / "small.pt", weights), device="cpu", dtype="auto")


def test_it_measures_on_this_machine(cache):
    encoder = load_encoder("untrained-tiny", device="cpu", dtype="auto")
    assert encoder.dtype in {"float32", "bfloat16"}
    assert set(encoder.choice.seconds) == {"float32", "bfloat16"}
    assert "by auto: a block takes" in repr(encoder)
    assert [*json.loads(cache.read_text()).values()] == [encoder.choice.seconds]
    mel = torch.zeros(80, 100)
    assert torch.equal(
        encoder.hidden_states(mel), load_encoder("untrained-tiny", dtype=encoder.dtype).hidden_states(mel)
    )


def test_it_is_measured_once(automatic, cache, measurements):
    assert automatic().dtype == automatic().dtype == "bfloat16"
    assert len(measurements) == 1


@pytest.mark.parametrize(("bfloat16", "expected"), [(0.1, "bfloat16"), (0.19, "float32"), (0.3, "float32")])
def test_less_precision_must_gain_a_tenth(automatic, bfloat16, expected, cache, monkeypatch):
    monkeypatch.setattr(fastest, "_measure", lambda passes: {"float32": 0.2, "bfloat16": bfloat16})
    assert automatic().dtype == expected


def test_other_threads_are_measured_anew(automatic, cache, measurements):
    threads = torch.get_num_threads()
    automatic()
    try:
        torch.set_num_threads(threads + 1)
        automatic()
    finally:
        torch.set_num_threads(threads)
    assert len(measurements) == len(json.loads(cache.read_text())) == 2


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "null", '{"KEY": 3}', '{"KEY": {"float32": 1.0}}', "\0\xff", "[" * 10**5]
)
def test_a_damaged_file_is_measured_anew(automatic, damage, cache, measurements):
    automatic()
    key = next(iter(json.loads(cache.read_text())))
    cache.write_text(damage.replace("KEY", key), encoding="latin-1")
    assert automatic().dtype == "bfloat16"
    assert len(measurements) == 2
    assert json.loads(cache.read_text())[key] == {"float32": 0.2, "bfloat16": 0.1}


def test_without_a_folder_it_is_measured_each_time(automatic, tmp_path, monkeypatch, measurements):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert automatic().dtype == automatic().dtype == "bfloat16"
    assert len(measurements) == 2


def test_a_store_records_what_was_chosen(automatic, small, cache, measurements, tmp_path):
    store = FeatureStore.create(tmp_path / "store", "musetools", automatic())
    assert store.provenance["encoder"]["dtype"] == "bfloat16"
    assert automatic().fingerprint == small.fingerprint
    with pytest.raises(StoreError, match="dtype"):
        store.add("clip", (torch.zeros(16_000).numpy(), 16_000), small)


def test_the_processor_has_a_name():
    assert fastest.processor()
