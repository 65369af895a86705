"""`musetools contract` shows, compares and checks; its exit codes turn a CI red."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

import musetools as mt
from musetools.cli import main
from musetools.recipes.contract import encoder_facts
from musetools.train import ChunkSettings

OWN = """
import numpy as np, musetools as mt
def chunks(path, move=0):
    features = mt.audio2feat(path, "untrained-tiny")
    return np.asarray(mt.feature2chunks(np.roll(features, move, axis=0), 25))
late = lambda path: chunks(path, 1)
"""


@pytest.fixture
def run(tmp_path, monkeypatch, encoder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_audio.py").write_text(OWN)
    made = mt.AudioContract(mt.FeatureSpec(), encoder_facts(encoder), ChunkSettings()).with_probe(encoder)
    made.save("a.json")
    replace(made, settings=ChunkSettings(25, (2, 3)), probe=None).save("b.json")

    def run(*arguments):
        done = CliRunner().invoke(main, ["contract", *arguments])
        return done.exit_code, done.output

    return run


def test_the_commands(run):
    assert "untrained-tiny" in run("show", "a.json")[1]
    assert run("diff", "a.json", "a.json") == (0, "they say the same\n")
    assert run("diff", "a.json", "b.json") == (1, "chunks.context: [2, 2] here, [2, 3] there\n")
    assert run("check", "a.json", "own_audio:chunks") == (0, "it keeps the contract\n")
    assert run("check", "a.json", "own_audio:late") == (
        1,
        "rows: every chunk is taken -1 rows (-20 ms) from its place\n",
    )
    code, text = run("check", "b.json", "own_audio:chunks")
    assert (code, "has no probe" in text) == (1, True)
