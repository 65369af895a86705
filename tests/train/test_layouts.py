"""Others' layouts: what is written comes back, and what cannot be trusted is refused."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import Payload
from stores import SHAPE, make_store, rows_of

from musetools import FeatureStore, OutputError, StoreError
from musetools.train.layouts import export_embeds, export_frame_files, import_embeds, import_frame_files


@pytest.fixture
def target(tmp_path, small) -> FeatureStore:
    return make_store(tmp_path / "target", small)


# --- one file a frame


@pytest.mark.parametrize("n_rows", [60, 61])
def test_one_file_a_frame_and_back(tmp_path, small, target, n_rows):
    store = make_store(tmp_path / "store", small, ["clip"], n_rows)
    assert export_frame_files(store, tmp_path / "files") == {"clip": 30}
    files = tmp_path / "files" / "clip"
    assert sorted(os.listdir(files)) == sorted(f"{k}.npy" for k in range(30))
    third = np.load(files / "3.npy", allow_pickle=False)
    assert (third.dtype, third.shape) == (np.float32, (4, 64))
    np.testing.assert_array_equal(third, rows_of("clip", n_rows)[6:8].reshape(4, 64))
    assert import_frame_files(target, "back", files, fps=25, n_frames=30) == 60
    np.testing.assert_array_equal(target["back"], rows_of("clip", n_rows)[:60])  # an odd row has no file
    assert (target.record("back").rate, target.record("back").frames) == (25, 30)
    assert target.record("back").source == {"path": str(files)}
    import_frame_files(target, "known", files, source={"path": "video.mp4"})
    assert target.record("known").source == {"path": "video.mp4"}


def test_every_clip_counts_from_zero(tmp_path, small):
    """K12: appended to one folder, audio and pictures would drift apart by two frames a clip."""
    store = FeatureStore.create(tmp_path / "store", "musetools", small)
    lengths = {"a": 50, "b": 51, "c": 10, "é": 20}
    for clip, n_rows in lengths.items():
        store.add_rows(clip, rows_of(clip, n_rows))
    assert export_frame_files(store, tmp_path / "files") == {clip: n // 2 for clip, n in lengths.items()}
    folders = sorted((tmp_path / "files").iterdir())
    assert len(folders) == len(lengths)
    counts = sorted(sorted(int(path.stem) for path in folder.iterdir()) for folder in folders)
    assert counts == sorted(list(range(n // 2)) for n in lengths.values())
    for k in range(25):
        rows = np.load(tmp_path / "files" / "b" / f"{k}.npy")
        np.testing.assert_array_equal(rows.reshape(2, *SHAPE), rows_of("b", 51)[2 * k : 2 * k + 2])


def test_a_clip_that_was_made_again_keeps_its_folder(tmp_path, small):
    store = make_store(tmp_path / "store", small, ["clip"])
    store.add_rows("clip", rows_of("other"), replace=True)
    export_frame_files(store, tmp_path / "files")
    assert os.listdir(tmp_path / "files") == ["clip"]


def test_nothing_is_exported_over_what_is_there(tmp_path, store):
    (tmp_path / "files" / "b").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot make .*b: File exists. Name a new folder"):
        export_frame_files(store, tmp_path / "files")


def test_float16_is_exported_as_it_is(tmp_path, small):
    store = make_store(tmp_path / "store", small, "a", dtype="float16")
    export_frame_files(store, tmp_path / "files")
    rows = np.load(tmp_path / "files" / "a" / "0.npy")
    np.testing.assert_array_equal(rows.reshape(2, *SHAPE), rows_of("a")[:2].astype(np.float16))


@pytest.fixture
def files(tmp_path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for k in range(12):
        np.save(folder / f"{k}.npy", rows_of("clip", 24)[2 * k : 2 * k + 2].reshape(4, 64))
    return folder


def refused(target: FeatureStore, folder: Path, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        import_frame_files(target, "clip", folder)
    assert FeatureStore.open(target.root).clips == ()
    assert target.verify().orphans == ()


@pytest.mark.parametrize("missing", [0, 5, 10])
def test_a_missing_number(files, target, missing):
    (files / f"{missing}.npy").unlink()
    refused(target, files, rf"must hold 0\.npy, 1\.npy … without a gap; {missing}\.npy is missing")


def test_a_folder_without_files(tmp_path, target):
    refused(target, tmp_path / "none", r"0\.npy is missing")


def test_a_number_written_otherwise(files, target):
    (files / "3.npy").rename(files / "03.npy")
    refused(target, files, r"3\.npy")


def test_files_of_another_name_do_not_count(files, target):
    (files / "mean.npy").touch()
    (files / "picture.png").touch()
    assert import_frame_files(target, "clip", files) == 24


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, np.zeros((4, 64), np.float32))
    return file.getvalue()


SPOILED = {
    "another shape": lambda path: np.save(path, np.zeros((10, 384), np.float32)),
    "one row": lambda path: np.save(path, np.zeros((2, 64), np.float32)),
    "whole numbers": lambda path: np.save(path, np.zeros((4, 64), int)),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "header alone": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "unbalanced header": lambda path: path.write_bytes(path.read_bytes().replace(b")", b"(")),
    "text": lambda path: path.write_text("I am not an array."),
    "an archive": lambda path: path.write_bytes(archive()),
    "a torn archive": lambda path: path.write_bytes(b"PK\3\4" + bytes(100)),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_file_that_is_not_what_it_should_be(files, target, spoil):
    spoil(files / "7.npy")
    refused(target, files, r"7\.npy")


def test_a_pickle_in_a_frame_file_is_not_run(files, target, tmp_path):
    sentinel = tmp_path / "sentinel"
    np.save(files / "7.npy", np.full((4, 64), Payload(sentinel), object), allow_pickle=True)
    refused(target, files, r"7\.npy cannot be read")
    (files / "7.npy").write_bytes(pickle.dumps(Payload(sentinel)))
    refused(target, files, r"7\.npy cannot be read")
    assert not sentinel.exists()


# --- LatentSync's embeddings


@pytest.mark.parametrize("n_rows", [60, 61])
def test_embeddings_and_back(tmp_path, small, target, n_rows):
    store = make_store(tmp_path / "store", small, ["clip"], n_rows)
    export_embeds(store, "clip", tmp_path / "clip_embeds.pt")
    tensor = torch.load(tmp_path / "clip_embeds.pt", weights_only=True)
    assert (tensor.dtype, tensor.shape) == (torch.float32, (n_rows, *SHAPE))
    assert import_embeds(target, "back", tmp_path / "clip_embeds.pt", fps=25) == n_rows
    np.testing.assert_array_equal(target["back"], rows_of("clip", n_rows))
    assert target.record("back").rate == 25


def test_embeddings_of_float16_are_float32(tmp_path, small):
    store = make_store(tmp_path / "store", small, "a", dtype="float16")
    export_embeds(store, "a", tmp_path / "a.pt")
    tensor = torch.load(tmp_path / "a.pt", weights_only=True)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor, rows_of("a").astype(np.float16))


@pytest.mark.parametrize("kind", ["float64", "float16", "bfloat16", "transposed", "with gradient"])
def test_tensors_of_other_kinds(tmp_path, target, kind):
    tensor = torch.from_numpy(rows_of("clip"))
    if kind == "transposed":
        torch.save(tensor.permute(2, 1, 0).contiguous().permute(2, 1, 0), tmp_path / "x.pt")
    elif kind == "with gradient":
        torch.save(tensor.clone().requires_grad_(), tmp_path / "x.pt")
    else:
        tensor = tensor.to(getattr(torch, kind))
        torch.save(tensor, tmp_path / "x.pt")
    assert import_embeds(target, "clip", tmp_path / "x.pt") == 60
    np.testing.assert_array_equal(target["clip"], tensor.float())


NO_EMBEDDINGS = {
    "another width": torch.zeros(60, 5, 384),
    "two dimensions": torch.zeros(60, 128),
    "a dict": {"audio": torch.zeros(60, *SHAPE)},
    "a list": [torch.zeros(*SHAPE)],
    "none": None,
    "sparse": torch.zeros(60, *SHAPE).to_sparse(),
    "complex": torch.zeros(60, *SHAPE, dtype=torch.complex64),
}


@pytest.mark.parametrize("what", NO_EMBEDDINGS.values(), ids=NO_EMBEDDINGS)
def test_what_is_no_embedding_is_refused(tmp_path, target, what):
    torch.save(what, tmp_path / "x.pt")
    with pytest.raises(StoreError, match=r"x\.pt"):
        import_embeds(target, "clip", tmp_path / "x.pt")
    assert FeatureStore.open(target.root).clips == ()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_in_an_embedding_is_not_run(tmp_path, target, legacy):
    sentinel = tmp_path / "sentinel"
    torch.save(Payload(sentinel), tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(StoreError, match=r"x\.pt is refused") as caught:
        import_embeds(target, "clip", tmp_path / "x.pt")
    assert "weights_only" not in str(caught.value)  # torch's own advice is to load it unsafely
    assert not sentinel.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_torn_embedding(tmp_path, target, legacy):
    path = tmp_path / "x.pt"
    torch.save(torch.from_numpy(rows_of("clip")), path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in [*range(0, 1500, 37), len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(StoreError, match=r"x\.pt (is refused|cannot be read)"):
            import_embeds(target, "clip", path)
    assert FeatureStore.open(target.root).clips == ()


def test_a_missing_embedding(tmp_path, target):
    with pytest.raises(StoreError, match=r"none\.pt cannot be read .*No such file"):
        import_embeds(target, "clip", tmp_path / "none.pt")
