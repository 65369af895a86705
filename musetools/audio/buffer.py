"""Arrays that come block by block: the tail of an endless one, in memory that does not grow, and a whole one."""

from collections.abc import Iterable

import numpy as np

__all__ = ["Ring", "joined"]


class Ring:
    """Holds the last items of an array that grows at its end for ever, addressed by their place since its start.

    Its memory follows what is held, not what has passed: items that `drop` gave up make room for new ones.

    Parameters
    ----------
    item_shape : tuple of int, default ()
        Shape of one item.
    dtype : dtype, default float32
        Type of the items.

    Attributes
    ----------
    start, stop : int
        Places of the first item that is held and of the next one to come.
    """

    def __init__(self, item_shape: tuple[int, ...] = (), dtype: type = np.float32):
        self._memory = np.empty((0, *item_shape), dtype)
        self._first = 0  # where in the memory the item at `start` lies
        self.start = self.stop = 0

    def append(self, items: np.ndarray) -> None:
        """Add items at the end."""
        held, more = self.stop - self.start, len(items)
        if self._first + held + more > len(self._memory):
            self._make_room(held, more)
        self._memory[self._first + held : self._first + held + more] = items
        self.stop += more

    def drop(self, before: int) -> None:
        """Give up the items before a place."""
        before = min(max(before, self.start), self.stop)
        self._first += before - self.start
        self.start = before

    def __getitem__(self, places: slice) -> np.ndarray:
        """Return a view of the items at `places`, good until the next `append`."""
        if not self.start <= places.start <= places.stop <= self.stop:
            raise IndexError(f"places {places.start} … {places.stop} of a ring that holds {self.start} … {self.stop}")
        first = self._first - self.start
        return self._memory[first + places.start : first + places.stop]

    def _make_room(self, held: int, more: int) -> None:
        """Move what is held to the front, of a larger memory where it would fill more than half of this one."""
        kept, needed = self._memory[self._first : self._first + held], 2 * (held + more)
        if needed > len(self._memory):
            self._memory = np.empty((needed, *kept.shape[1:]), kept.dtype)
        self._memory[:held] = kept
        self._first = 0


def joined(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return the values of blocks of float32 in one flat array.

    It grows in place: blocks and their whole side by side would take twice the memory.
    """
    values = bytearray()
    for block in blocks:
        values += memoryview(np.ascontiguousarray(block)).cast("B")
    return np.frombuffer(values, np.float32)
