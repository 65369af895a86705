"""What the tests of the training side share."""

import shutil
from pathlib import Path

import pytest
from checkpoints import save_openai
from media import speech, write_media
from stores import QUICK, make_store

from musetools import FeatureStore
from musetools.features.encoder import Encoder
from musetools.features.weights import EncoderWeights


@pytest.fixture(scope="module", autouse=True)
def quick(one_thread: None) -> None:
    """Whatever is tested here is computed on one thread."""


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, small: Encoder) -> Path:
    return make_store(tmp_path_factory.mktemp("template") / "store", small, "abcd").root


@pytest.fixture
def store(tmp_path: Path, template: Path) -> FeatureStore:
    """A store of four clips; copied, which is faster than written to be there after a power cut."""
    shutil.copytree(template, tmp_path / "store")
    return FeatureStore.open(tmp_path / "store")


@pytest.fixture
def empty(tmp_path: Path, small: Encoder) -> FeatureStore:
    return FeatureStore.create(tmp_path / "store", QUICK, small)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, weights: EncoderWeights) -> Path:
    """The weights of `small` in a file."""
    return save_openai(tmp_path_factory.mktemp("weights") / "small {1} é.pt", weights)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("media") / "speech {1} é.wav", speech(1.5), 44_100)
