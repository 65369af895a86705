"""What the tests of the training side share."""

import shutil
from pathlib import Path

import pytest
from stores import make_store

from musetools import FeatureStore
from musetools.features.encoder import Encoder


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
