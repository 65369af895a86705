"""What many tests share."""

import os

# The workers of pytest-xdist fill the cores: more threads would only wait for each other, which takes processor time.
# Set before torch is loaded, and inherited by every process that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import small_weights
from hypothesis import settings
from media import write_media
from oracles import encoder_of, speech

from musetools.features import extract, published
from musetools.features.encoder import Encoder, load_encoder
from musetools.features.weights import EncoderWeights

FIRST = ("test_notebooks.py",)  # what takes longest begins first, so that no core is left without work at the end

# The same examples in every run, so that a test that turns red tells of a change.
# `pytest --hypothesis-profile search` looks for new ones, and for more of them.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=1000, deadline=None)
settings.load_profile("same")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Give each file to one worker, so that what its tests share is made once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """whisper-tiny's shape with untrained weights: needs no download."""
    return load_encoder("untrained-tiny", device="cpu")


@pytest.fixture(scope="session")
def weights() -> EncoderWeights:
    """One block of width 64, for what must be tried at many lengths."""
    return small_weights()


@pytest.fixture(scope="session")
def small(weights: EncoderWeights) -> Encoder:
    """The encoder of `weights`."""
    return encoder_of(weights)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of given recordings and recorded results, beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"the given recordings are not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def trained() -> Path:
    """The CTranslate2 folder of trained weights, tiny.en."""
    folder = published._installed()
    if folder is None:
        pytest.skip(f"no trained weights are installed: {published.EXTRA}")
    return folder


@pytest.fixture
def namesakes(tmp_path: Path) -> list[Path]:
    """Two videos of one name in two folders, with other sound."""
    paths = []
    for folder, samples in (("monday", speech(40_000)), ("tuesday", speech(80_000)[40_000:])):
        (tmp_path / folder).mkdir()
        pcm = np.round(samples[:, None] * 32767).astype(np.int16)
        paths.append(write_media(tmp_path / folder / "take 1.mp4", pcm, 16_000))
    return paths


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Windows of the small encoder in batches of four, as a GPU gets them; gives the sizes of the batches."""
    sizes = []

    def fetched(states):
        sizes.append(len(states))
        return lambda: states

    monkeypatch.setattr(extract, "_fetched", fetched)
    monkeypatch.setattr(extract, "BATCH_BYTES", 4 * 4 * 1500 * 2 * 64)
    monkeypatch.setattr(Encoder, "in_batches", True)
    return sizes


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """A sum split among threads has other last bits; small encoders gain nothing from more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
