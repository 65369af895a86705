"""Rows into a file of the store: checked and converted."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np

from musetools.errors import ParameterError
from musetools.files import save_rows

__all__ = ["write_rows"]


def write_rows(
    file: BinaryIO, rows: np.ndarray | Iterable[np.ndarray], row_shape: tuple[int, int], dtype: np.dtype
) -> int:
    """Write rows, block by block, as a ``.npy`` file, and return how many; ParameterError for what cannot be stored."""
    blocks = _checked([rows] if isinstance(rows, np.ndarray) else rows, row_shape, dtype)
    return save_rows(file, blocks, row_shape, dtype.newbyteorder("<").str)


def _checked(blocks: Iterable[np.ndarray], row_shape: tuple[int, int], dtype: np.dtype) -> Iterator[np.ndarray]:
    """Pass on blocks of rows that can be stored; ParameterError for any other."""
    n_rows = 0
    for block in blocks:
        block = np.asarray(block)
        if block.ndim != 3 or block.shape[1:] != row_shape or block.dtype.kind != "f":
            raise ParameterError(
                f"rows must be float (n, {row_shape[0]}, {row_shape[1]}); got {block.dtype} {block.shape}. "
                "Make them with the store's encoder"
            )
        with np.errstate(over="ignore"):
            stored = block.astype(dtype, copy=False)
        if not np.isfinite(stored).all():
            bad = n_rows + int(np.argwhere(~np.isfinite(stored))[0, 0])
            raise ParameterError(
                f"row {bad} is not finite as {dtype}: its audio or its weights are broken, or use float32"
            )
        n_rows += len(block)
        yield stored
