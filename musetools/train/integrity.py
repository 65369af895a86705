"""The files of a store: how they are named, what they may hold, and what a look at all of them found."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from musetools.errors import ParameterError

__all__ = ["StoreCheck", "file_name", "storable"]

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)  # names of devices on Windows


@dataclass(frozen=True, repr=False)
class StoreCheck:
    """What `FeatureStore.verify` found."""

    checked: int  # clips looked at
    bad: dict[str, str]  # clips whose file is not what was written, with the reason
    orphans: tuple[str, ...]  # files in the store's folder that belong to no clip

    @property
    def ok(self) -> bool:
        """Whether every clip is as it was written."""
        return not self.bad

    def __repr__(self) -> str:
        lines = [f"{self.checked} clips checked, {len(self.bad)} bad, {len(self.orphans)} orphan files"]
        return "\n".join([*lines, *(f"  {clip}: {reason}" for clip, reason in self.bad.items())])


def file_name(clip: str, other_than: str | None = None) -> str:
    """Name a clip's file: by its id where any system takes that, else by the id's hash; no plain id has an @."""
    plain = PLAIN.fullmatch(clip) and not RESERVED.match(clip)
    stem = clip if plain else f"@{hashlib.sha256(clip.encode()).hexdigest()[:40]}"
    return f"{stem}@.npy" if other_than == f"{stem}.npy" else f"{stem}.npy"


def storable(
    rows: np.ndarray | Iterable[np.ndarray], row_shape: tuple[int, int], dtype: np.dtype
) -> Iterator[np.ndarray]:
    """Yield rows, block by block, as a store keeps them; ParameterError for what cannot be stored."""
    n_rows = 0
    for block in map(np.asarray, [rows] if isinstance(rows, np.ndarray) else rows):
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
