"""Anybody's Dataset is read by numbered files; code that runs the encoder itself by a stand-in for it."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import musetools as mt

V1_TRAIN = mt.RECIPES["musetalk-v1-train"].chunk_rows(300 * 320, 25)


class Frames(torch.utils.data.Dataset):
    """As train_codes: five files a frame, a frame without all of them dropped; `shift` plants a fault."""

    def __init__(self, folder: Path, shift: int = 0):
        self.folder, self.shift, n = folder, shift, len(list(folder.glob("*.npy")))
        self.frames = range(2, n - 2 - shift)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> torch.Tensor:
        if index >= len(self):
            raise IndexError(index)
        frame = self.frames[index] + self.shift
        files = [np.load(self.folder / f"{k}.npy") for k in range(frame - 2, frame + 3)]
        return torch.from_numpy(np.concatenate(files))


def test_a_dataset_of_one_file_a_frame():
    np.testing.assert_array_equal(mt.trace_dataset(Frames, "frames").rows, V1_TRAIN)
    late = mt.trace_dataset(lambda folder: Frames(folder, 1), "frames").rows
    np.testing.assert_array_equal(late, V1_TRAIN[1:])
    with pytest.raises(mt.TraceError, match="mixed"):
        mt.trace_dataset(lambda folder: [(a + b) / 2 for a, b in pairwise(Frames(folder))], "frames")


def test_a_dataset_of_clips_and_of_stacked_chunks():
    def clips(folder):
        return mt.feature2chunks(np.load(folder / "clip.npy"), 25, edge="drop")

    expected = mt.chunk_rows(300, 25)
    np.testing.assert_array_equal(mt.trace_dataset(clips, "clip").rows, mt.chunk_rows(300, 25, edge="drop"))
    np.testing.assert_array_equal(mt.trace_dataset(lambda f: np.load(f / "clip.npy"), "stacked").rows, expected)
    with pytest.raises(mt.ParameterError, match="layout must be one of frames, clip, stacked"):
        mt.trace_dataset(clips, "zip")


def test_a_dataset_that_never_ends_but_says_how_long_it_is():
    class Endless:
        def __init__(self, folder):
            self.chunks = np.asarray(mt.feature2chunks(np.load(folder / "clip.npy"), 25))

        def __len__(self):
            return len(self.chunks)

        def __getitem__(self, index):
            return self.chunks[index % len(self)]

    np.testing.assert_array_equal(mt.trace_dataset(Endless, "clip").rows, mt.chunk_rows(300, 25))


@pytest.mark.parametrize("batch", [1, 2])
def test_code_that_runs_the_encoder_itself(batch):
    """In the manner of v1.5: encoder, stack of hidden states, zeros at the ends; a window or two at a time."""

    def chunks(features):
        whisper, parts = mt.numbered_encoder(features), []
        for _ in range(2 // batch):
            states = whisper.encoder(torch.zeros(batch, 80, 3000), output_hidden_states=True).hidden_states
            parts.append(torch.stack(states, dim=2).flatten(0, 1))
        rows = torch.nn.functional.pad(torch.cat(parts)[:1650], (0, 0, 0, 0, 4, 12))
        return [rows[2 * frame : 2 * frame + 10].flatten(0, 1) for frame in range(825)]

    expected = mt.RECIPES["musetalk-v1.5-infer"].chunk_rows(33 * 16_000, 25)
    np.testing.assert_array_equal(mt.trace_rows(chunks, 3000).rows, expected)


def test_more_windows_than_there_are_rows():
    def chunks(features):
        whisper = mt.numbered_encoder(features)
        return [whisper.encoder(torch.zeros(3, 80, 3000)).hidden_states[0]]

    with pytest.raises(mt.TraceError, match="more windows than 3000 numbered rows fill: send whole windows, 1500"):
        mt.trace_rows(chunks, 3000)


def train_codes_folder(root: Path, clips: list[int], extra: int) -> tuple[Path, Path]:
    """Append clips as scripts/data.py does: rows // 2 npy files, `extra` more images."""
    audio, images = root / "audios", root / "images"
    for folder, suffix, more in ((audio, "npy", 0), (images, "png", extra)):
        folder.mkdir()
        for k in range(sum(rows // 2 + more for rows in clips)):
            (folder / f"{k}.{suffix}").touch()
    return audio, images


def test_a_folder_whose_numbering_drifts_is_named(tmp_path):
    audio, images = train_codes_folder(tmp_path, [100, 61, 80], extra=2)
    (fault,) = mt.audit_frame_files(audio, images, [100, 61, 80])
    assert "+2 frames a clip" in fault
    assert "from clip 1 on, frame 50, audio is +2 frames ahead of images" in fault
    assert "in the last clip +4" in fault
    assert mt.audit_frame_files(audio, images, [100, 61])[0] == "120 npy files, expected 80 of 2 clips"


def test_where_nothing_more_is_known_no_frame_is_named(tmp_path):
    audio, images = train_codes_folder(tmp_path, [100, 61, 80], extra=2)
    (images / "125.png").unlink()
    (fault,) = mt.audit_frame_files(audio, images, [100, 61, 80])
    assert "125 images beside 120 npy files: not as many in each clip. Number" in fault
    (tmp_path / "one").mkdir()
    (fault,) = mt.audit_frame_files(*train_codes_folder(tmp_path / "one", [100], extra=2), [100])
    assert "52 images beside 50 npy files: +2 frames a clip. Number" in fault


@pytest.mark.parametrize("start_at_1", [True, False])
def test_a_folder_whose_numbers_have_a_gap(tmp_path, start_at_1):
    """Counts agree: only the numbers say that it is not what training reads."""
    audio, images = train_codes_folder(tmp_path, [100, 60], extra=0)
    number = 0 if start_at_1 else 30
    (audio / f"{number}.npy").rename(audio / "80.npy")
    (fault,) = mt.audit_frame_files(audio, images, [100, 60])
    assert (
        f"audios: {number}.npy is missing among 80 files, of which the first is {1 if start_at_1 else 0}.npy" in fault
    )
    (images / f"{number}.png").rename(images / "80.png")
    assert f"images: {number}.png is missing" in mt.audit_frame_files(audio, images, [100, 60])[1]


def test_a_folder_that_is_right(tmp_path):
    assert mt.audit_frame_files(*train_codes_folder(tmp_path, [100, 60], extra=0), [100, 60]) == ()
    (tmp_path / "empty").mkdir()
    with pytest.raises(mt.ParameterError, match=r"no numbered \.npy"):
        mt.audit_frame_files(tmp_path / "empty", tmp_path / "empty", [1])


@pytest.mark.parametrize(
    ("name", "rows", "fault"),
    [("gone", [1], "cannot be searched"), ("audios", [], r"got \[\]"), ("audios", 100, "such as .*got 100")],
)
def test_what_cannot_be_audited(tmp_path, name, rows, fault):
    audio, images = train_codes_folder(tmp_path, [100], extra=0)
    with pytest.raises(mt.ParameterError, match=fault):
        mt.audit_frame_files(audio.parent / name, images, rows)
