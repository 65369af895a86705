"""Tar shards of a store: what webdataset reads of them, and that no sample is lost without a word."""

import hashlib
import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stores import add_all, contents, in_child, killed_at, rows_of

from musetools import FeatureStore, OutputError, ParameterError, StoreError
from musetools.cli import main
from musetools.train import verify_shards

webdataset = pytest.importorskip("webdataset", reason="needs the extra corpus")

CLIPS = ("b.b.wav", "a", "é ü", "c.mp4", "x__y.wav")


@pytest.fixture
def five(store) -> FeatureStore:
    store.verify(repair=True)
    add_all(store.root, CLIPS, 40, store)
    return store


def load(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)


def opened(paths: list[str], **how):
    decoders = webdataset.handle_extension("npy", load), webdataset.handle_extension("json", json.loads)
    return webdataset.WebDataset(paths, shardshuffle=False, **how).decode(*decoders, only=["npy", "json"])


def read(paths: list[str]) -> list[dict]:
    """Read shards in a process of its own, since webdataset leaves files open; an error is a sample, too."""
    return in_child(_read, paths)


def _read(paths: list[str]) -> list[dict]:
    try:
        return [{key: sample[key] for key in ("npy", "json") if key in sample} for sample in opened(paths)]
    except Exception as error:
        return [{"error": type(error).__name__}]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_plain_webdataset_reads_back_what_was_written(five, tmp_path):
    shards = five.export_webdataset(tmp_path / "out", 3)
    assert [shard["nsamples"] for shard in shards.shards] == [3, 3, 2]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.json",
        *(f"shard-{k:06d}.tar" for k in range(3)),
    ]
    samples = read(shards.paths)
    assert [sample["json"]["clip"] for sample in samples] == sorted(five)
    assert [sample["json"]["number"] for sample in samples] == list(range(8))
    assert {sample["json"]["of"] for sample in samples} == {8}
    for sample in samples:
        np.testing.assert_array_equal(sample["npy"], five[sample["json"]["clip"]])
        assert (sample["json"]["fps"], sample["json"]["rows"]) == ("25", len(sample["npy"]))
    assert repr(shards).startswith("8 clips in 3 shards of ")


def test_the_same_store_gives_the_same_bytes(five, tmp_path):
    five.export_webdataset(tmp_path / "one", 3)
    FeatureStore.open(five.root).export_webdataset(tmp_path / "two", 3)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    index = json.loads((tmp_path / "one" / "index.json").read_bytes())
    assert index["samples"] == 8
    assert {shard["url"]: shard["sha256"] for shard in index["shardlist"]} == {
        name: digest for name, digest in digests(tmp_path / "one").items() if name != "index.json"
    }


def share(paths: list[str], rank: int) -> list[str]:
    """Read the shards that this rank's two loader workers get, as torchrun would set it up."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    dataset = opened(paths, nodesplitter=webdataset.split_by_node, workersplitter=webdataset.split_by_worker)
    loader = webdataset.WebLoader(dataset, batch_size=None, num_workers=2)
    return [sample["json"]["clip"] for sample in loader]


def test_nodes_and_workers_share_the_shards(five, tmp_path):
    paths = five.export_webdataset(tmp_path / "out", 1).paths
    shares = [in_child(share, paths, rank) for rank in range(2)]
    assert [len(each) for each in shares] == [4, 4]
    assert sorted(shares[0] + shares[1]) == sorted(five)


LOST = {
    "at the boundary of a sample": lambda path, content: path.write_bytes(content[: _end_of(path, 2)] + bytes(1024)),
    "inside a sample": lambda path, content: path.write_bytes(content[: len(content) // 2]),
    "a flipped bit": lambda path, content: path.write_bytes(
        content[:3000] + bytes([content[3000] ^ 1]) + content[3001:]
    ),
    "gone": lambda path, content: path.unlink(),
}


def _end_of(path: Path, members: int) -> int:
    with tarfile.open(path) as tar:
        return tar.getmembers()[members].offset


@pytest.mark.parametrize("how", LOST)
def test_a_lost_sample_is_noticed(five, tmp_path, how):
    five.export_webdataset(tmp_path / "out", 3)
    assert verify_shards(tmp_path / "out").ok
    path = tmp_path / "out" / "shard-000001.tar"
    LOST[how](path, path.read_bytes())
    found = verify_shards(tmp_path / "out")
    assert list(found.bad) == ["shard-000001.tar"]
    done = CliRunner().invoke(main, ["store", "verify", str(tmp_path / "out")])
    assert (done.exit_code, "8 clips checked, 1 bad" in done.output) == (1, True)
    if how == "at the boundary of a sample":
        assert "1 of 3 clips are whole" in found.bad["shard-000001.tar"]
        assert len(read([str(path)])) == 1  # webdataset itself says nothing


def test_a_pickle_in_a_shard_is_not_run(five, tmp_path):
    paths = five.export_webdataset(tmp_path / "out", 8).paths
    sentinel = tmp_path / "sentinel"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(sentinel),)

    for name in ("00000000.npy", "00000000.pyd"):
        with tarfile.open(tmp_path / "evil.tar", "w") as tar:
            info = tarfile.TarInfo(name)
            info.size = len(content := pickle.dumps(Payload()))
            tar.addfile(info, io.BytesIO(content))
        (found,) = read([str(tmp_path / "evil.tar")])
        assert found.keys() == ({"error"} if name.endswith("npy") else set())
    assert not sentinel.exists()
    assert len(read(paths)) == 8


def export(root: Path, folder: Path) -> None:
    FeatureStore.open(root).export_webdataset(folder, 3)


def test_killed_and_exported_again(five, tmp_path):
    five.export_webdataset(tmp_path / "whole", 3)
    assert killed_at(5, export, five.root, tmp_path / "out")
    assert not (tmp_path / "out" / "index.json").exists()
    with pytest.raises(StoreError, match="is no index of shards"):
        verify_shards(tmp_path / "out")
    five.export_webdataset(tmp_path / "out", 3)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_what_is_refused(five, tmp_path):
    five.export_webdataset(tmp_path / "out", 8)
    with pytest.raises(OutputError, match="holds shards already"):
        five.export_webdataset(tmp_path / "out", 8)
    with pytest.raises(ParameterError, match="whole number of clips"):
        five.export_webdataset(tmp_path / "new", 0)
    five.path("a").write_bytes(five.path("a").read_bytes()[:-4] + bytes(4))
    with pytest.raises(StoreError, match="clip 'a' is damaged"):
        five.export_webdataset(tmp_path / "new", 8)
    assert os.listdir(tmp_path / "new") == [".exporting"]


def test_a_store_is_not_exported_into_itself(five):
    """`musetools store verify` would look at the shards from then on, and never at the store."""
    before = contents(five.root)
    with pytest.raises(OutputError, match="is the store itself"):
        five.export_webdataset(five.root / "clips" / "..", 8)
    assert contents(five.root) == before


def test_shards_of_another_are_not_removed(five, tmp_path):
    """Webdataset asks for no index: what has none is not an export that was killed."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shard-000000.tar").write_bytes(b"years of work")
    with pytest.raises(OutputError, match="holds shards already"):
        five.export_webdataset(tmp_path / "out", 8)
    assert (tmp_path / "out" / "shard-000000.tar").read_bytes() == b"years of work"


# --- the command


def run(*given: object):
    return CliRunner().invoke(main, ["store", *map(str, given)])


def test_the_commands_of_a_store(store, tmp_path):
    assert run("verify", store.root).output == "4 clips checked, 0 bad, 0 orphan files\n"
    said = run("info", store.root).output
    assert "4 clips" in said
    assert "torch" in said
    store.path("c").write_bytes(b"")
    done = run("verify", store.root)
    assert (done.exit_code, "  c: " in done.output) == (1, True)
    done = run("repair", store.root)
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "1 clips were removed: extract makes them again")
    assert run("verify", store.root).exit_code == 0
    done = run("export", store.root, tmp_path / "out", "--shard-size", "2")
    assert (done.exit_code, done.output.split(" of ")[0]) == (0, "3 clips in 2 shards")


def test_the_command_merges_stores(store, tmp_path, template, small):
    from stores import make_store

    other = make_store(tmp_path / "other", small, "cxy")
    done = run("merge", store.root, other.root)
    assert done.output.splitlines()[0] == f"2 clips of {other.root} are new"
    np.testing.assert_array_equal(FeatureStore.open(store.root)["y"], rows_of("y"))


def test_no_store_is_an_error_in_a_line(tmp_path):
    for command in ("verify", "repair", "info"):
        done = run(command, tmp_path)
        assert (done.exit_code, done.output.count("\n")) == (1, 1)
        assert done.output.startswith("Error: ")
