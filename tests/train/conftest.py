"""What the tests of the training side share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from stores import make_store

from musetools import FeatureStore
from musetools.encoder import Encoder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small encoders gain nothing from more, and where others use the machine they lose."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, small: Encoder) -> Path:
    return make_store(tmp_path_factory.mktemp("template") / "store", small, "abcd").root


@pytest.fixture
def store(tmp_path: Path, template: Path) -> FeatureStore:
    """A store of four clips; copied, which is faster than written to be there after a power cut."""
    shutil.copytree(template, tmp_path / "store")
    return FeatureStore.open(tmp_path / "store")
