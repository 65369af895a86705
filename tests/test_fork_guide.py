"""The code of docs/fork.md runs as it is written; the published classes are those of musetools.infer.compat here."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

import musetools as mt
from musetools.cli import main
from musetools.lab import record

GUIDE = (Path(__file__).parents[1] / "docs" / "fork.md").read_text("utf-8")
IMPORTS = """
import numpy as np
import torch

import musetools as mt
from musetools.infer.compat import latentsync as latent, musetalk


class Audio2Feature(musetalk.Audio2Feature):
    mended = False


class AudioProcessor(musetalk.AudioProcessor):
    mended = False


class Buffers:
    def _feature2chunks(self, features, batch, window, start, multiplier):
        firsts = [int((i + start) * multiplier) - 2 * window[0] for i in range(batch)]
        return [features[first : first + 2 * sum(window)].reshape(-1, 384) for first in firsts]


encoder, asr = latent.Audio2Feature(mt.load_encoder("untrained-tiny")), Buffers()
"""


def block(words: str) -> str:
    return next(one for one in re.findall(r"^```python\n(.*?)^```$", GUIDE, re.M | re.S) if words in one)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with `mine.py`, as somebody who follows the guide has it."""
    (tmp_path / "mine.py").write_text(IMPORTS + block("# mine.py"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def test_the_functions_are_traced(place):
    for name, recipe in (
        ("v1", "musetalk-v1-infer"),
        ("v15", "musetalk-v1.5-infer"),
        ("latentsync", "latentsync"),
        ("livetalking", "livetalking-0-5"),
    ):
        done = CliRunner().invoke(main, ["trace", f"mine:{name}", "--fps", "25", "--seconds", "60"])
        assert re.search(rf"\bit is (\S+ or )?{re.escape(recipe)}\b.*equal", done.output), done.output


SOUND = np.sin(np.arange(32_000, dtype=np.float32))
OWN = """
import numpy as np

import musetools as mt

contract = mt.AudioContract.load("model.audio.json")


def audio_to_chunks(path):
    chunks = contract.chunks(path, mt.load_encoder("untrained-tiny"))
    return np.stack([contract.model_input(chunk) for chunk in chunks])
"""


def test_the_contract_is_saved_used_and_checked(place, encoder):
    store = mt.FeatureStore.create(place / "store", "musetools", encoder)
    store.add("one", (SOUND, 16_000), encoder)
    soundfile.write("new.wav", SOUND, 16_000)
    names = {"mt": mt, "store": store, "encoder": encoder}
    exec(block("store.contract"), names)
    assert len(names["chunks"]) == 50
    assert names["stream"].spec == store.spec
    (place / "own.py").write_text(OWN)
    done = CliRunner().invoke(main, ["contract", "check", "model.audio.json", "own:audio_to_chunks"])
    assert done.exit_code == 0, done.output


@pytest.mark.trained
def test_the_cell_that_guards_both(place, trained, monkeypatch):
    soundfile.write("clip.wav", SOUND, 16_000)
    np.save("clip.npy", mt.audio2feat("clip.wav", "tiny.en", spec="musetalk-v1"))
    recorded = {}
    monkeypatch.setattr(record, "record", recorded.update)
    monkeypatch.syspath_prepend(place)
    exec(block("import record"), {"fps": 30})
    np.testing.assert_array_equal(recorded["rows"], mt.RECIPES["musetalk-v1.5-infer"].chunk_rows(960_000, 30))
    assert "musetalk-v1" in recorded["npy"]
