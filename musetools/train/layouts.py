"""Features in others' layouts: MuseTalk's one file a frame, LatentSync's one tensor a video."""

import os
from pathlib import Path

import numpy as np
import torch

from musetools.errors import EncoderError, OutputError, StoreError
from musetools.features.weights import load_pickled
from musetools.files import read_npy, replacing
from musetools.recipes.datasets import numbered_files
from musetools.train.integrity import file_name
from musetools.train.store import FeatureStore

__all__ = ["export_embeds", "export_frame_files", "import_embeds", "import_frame_files"]

ROWS_PER_FILE = 2  # k.npy holds rows 2k and 2k + 1


def export_frame_files(store: FeatureStore, folder: str | os.PathLike) -> dict[str, int]:
    """Write each clip as MuseTalk's ``train_codes`` read them: ``clip/k.npy``, (2 · layers, width), rows 2k and 2k + 1.

    Return the number of files of each clip. Every clip has a folder of its own and counts from 0: appended to one
    folder, audio and images drift two frames apart a clip (FACTS, K12). OutputError if a clip's folder is there, or
    nothing can be written. Source: ``scripts/data.py`` of the branch ``train_codes`` (TMElyralab/MuseTalk).
    """
    written = {}
    for clip in store:
        # as the clip's file is named at first: that of a clip that was made again may have an @ more
        target, features = Path(folder) / Path(file_name(clip)).stem, store[clip]
        try:
            target.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"cannot make {target}: {error.strerror}. Name a new folder") from None
        written[clip] = len(features) // ROWS_PER_FILE
        for k in range(written[clip]):
            rows = np.asarray(features[ROWS_PER_FILE * k : ROWS_PER_FILE * (k + 1)])
            with replacing(target / f"{k}.npy") as file:
                np.save(file, rows.reshape(-1, rows.shape[-1]), allow_pickle=False)
    return written


def import_frame_files(store: FeatureStore, clip: str, folder: str | os.PathLike, **known) -> int:
    """Add a folder of files ``0.npy`` … without a gap, each (2 · layers, width), as one clip; return its rows.

    The store must be of the spec ("musetalk-v1") and the weights that the files were made with; no file says. `known`
    is passed to `FeatureStore.add_rows`: ``fps``, ``n_frames``, ``n_samples``. StoreError if a number is missing, or a
    file is not what it should be.
    """
    folder = Path(folder)
    files, missing = numbered_files(folder, (".npy",)) if folder.is_dir() else ([], 0)
    if missing is not None:
        raise StoreError(f"{folder} must hold 0.npy, 1.npy … without a gap; {missing}.npy is missing. Make them again")
    blocks = (_frame_file(file, store.row_shape) for file in files)
    return store.add_rows(clip, blocks, **{"source": {"path": str(folder)}, **known}).rows


def _frame_file(path: Path, row_shape: tuple[int, int]) -> np.ndarray:
    try:
        rows = read_npy(path)
    except ValueError as error:
        raise StoreError(f"{path} cannot be read ({error}): make it again") from None
    shape = ROWS_PER_FILE * row_shape[0], row_shape[1]
    if rows.shape != shape or rows.dtype.kind != "f":
        raise StoreError(f"{path} must be float {shape}; got {rows.dtype} {rows.shape}. Make it again")
    return rows.reshape(ROWS_PER_FILE, *row_shape)


def export_embeds(store: FeatureStore, clip: str, path: str | os.PathLike) -> None:
    """Write a clip as LatentSync caches it: ``NAME_embeds.pt``, one float32 tensor (n_rows, n_layers, width)."""
    with replacing(path) as file:
        torch.save(torch.from_numpy(np.array(store[clip], np.float32)), file)


def import_embeds(store: FeatureStore, clip: str, path: str | os.PathLike, **known) -> int:
    """Add a LatentSync ``_embeds.pt`` as a clip, as `import_frame_files` does; return its rows.

    StoreError if it holds anything but one tensor (n_rows, n_layers, width); what is no plain tensor is never run.
    """
    try:
        rows = load_pickled(path)
    except EncoderError as error:
        raise StoreError(str(error)) from None
    plain = isinstance(rows, torch.Tensor) and rows.layout is torch.strided and rows.is_floating_point()
    if not plain or rows.ndim != 3 or tuple(rows.shape[1:]) != store.row_shape:
        got = f"{rows.dtype} {tuple(rows.shape)}" if isinstance(rows, torch.Tensor) else type(rows).__name__
        raise StoreError(
            f"{path} must hold one float tensor (n_rows, {store.row_shape[0]}, {store.row_shape[1]}); got {got}. "
            "Make it again"
        )
    return store.add_rows(clip, rows.detach().float().numpy(), **{"source": {"path": str(path)}, **known}).rows
