"""The same features from a Ray cluster of two nodes, one of which is killed; a clip that kills is given up."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musetools import FeatureStore, MissingExtraError, ParameterError, extract

SCRIPT = Path(__file__).resolve().parents[1] / "two_nodes.py"
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray")


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict:
    """What the script says; the hash of bytes is the same within one process."""
    folder = tmp_path_factory.mktemp("ray")
    paths = os.pathsep.join([str(SCRIPT.parents[1]), str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, SCRIPT, folder], capture_output=True, check=False, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_ray
def test_a_cluster_gives_the_bytes_of_the_local_engine(said):
    assert said["nodes"] == 2
    assert len(said["local"]["added"]) == 40
    assert said["ray"]["contents"] == said["local"]["contents"]
    assert said["ray"]["added"] == said["local"]["added"] == said["ray"]["store"]
    assert [Path(path).name for path in said["ray"]["failed"]] == ["bad.wav"]


@needs_ray
def test_a_node_that_is_killed_midway_loses_and_doubles_nothing(said):
    assert said["nodes left"] == 1
    assert 6 <= said["killed at"] < 40
    assert said["killed"]["contents"] == said["local"]["contents"]
    assert (said["killed"]["added"], said["killed"]["skipped"]) == (said["local"]["added"], [])
    assert (said["killed"]["lines"], said["killed"]["ok"]) == (40, True)


@needs_ray
def test_a_clip_that_kills_its_process_is_given_up(said):
    assert said["poison"]["added"] == said["poison"]["store"] == [f"{k}.wav" for k in range(6)]
    ((path, reason),) = said["poison"]["failed"].items()
    assert Path(path).name == "poison.wav"
    assert "the process that extracts it has died 3 times" in reason
    assert said["poison"]["ok"]


def test_without_ray_the_extra_is_named(store, small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "a.wav").touch()
    with pytest.raises(MissingExtraError, match=r"pip install 'musetools\[ray\]'"):
        extract({"new": tmp_path / "a.wav"}, store, small, engine="ray", progress=False)


def test_an_address_without_ray_is_refused(store, small, tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(ParameterError, match="an address names a Ray cluster; got 'auto' with engine 'local'"):
        extract({"new": tmp_path / "a.wav"}, store, small, address="auto", progress=False)


@needs_ray
def test_no_cluster_where_it_is_looked_for(tmp_path, small, monkeypatch):
    import ray

    def fails(**_):
        raise ConnectionError("Could not find any running Ray instance.\nmore")

    monkeypatch.setattr(ray, "init", fails)
    root, clip = tmp_path / "store", tmp_path / "a.wav"
    soundfile.write(clip, np.sin(np.arange(16_000) / 9), 16_000)
    with pytest.raises(ParameterError, match=r"no Ray cluster answers at 'auto' .*instance.\)\. Start one"):
        extract(
            [clip],
            lambda: FeatureStore.create(root, "musetools", small),
            small,
            engine="ray",
            address="auto",
            progress=False,
        )
    assert not root.exists()


def test_no_cluster_is_needed_where_nothing_is_to_do(tmp_path, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    clip = tmp_path / "a.wav"
    soundfile.write(clip, np.sin(np.arange(16_000) / 9), 16_000)
    store = FeatureStore.create(tmp_path / "store", "musetools", small)
    assert len(extract([clip], store, small, progress=False).added) == 1
    assert len(extract([clip], store, small, engine="ray", progress=False).skipped) == 1
