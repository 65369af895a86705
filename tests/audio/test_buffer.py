"""The ring: the tail of an endless array, and no more memory than the tail needs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musetools.audio.buffer import Ring

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 60)),
        st.tuples(st.just("drop"), st.integers(-5, 80)),
    ),
    max_size=60,
)


@given(steps=STEPS, shape=st.sampled_from([(), (3,), (2, 1)]), dtype=st.sampled_from(["float32", "int64"]))
@settings(max_examples=100)
def test_a_ring_is_the_end_of_a_list(steps, shape, dtype):
    ring, passed, start = Ring(shape, np.dtype(dtype)), [], 0
    most_held = largest = 0
    for what, n in steps:
        if what == "append":
            items = np.empty((n, *shape), dtype)
            items.T[:] = np.arange(len(passed), len(passed) + n)
            ring.append(items)
            passed += list(items)
            largest = max(largest, n)
        else:
            ring.drop(start + n)
            start = min(max(start, start + n), len(passed))
        most_held = max(most_held, len(passed) - start)
        assert (ring.start, ring.stop) == (start, len(passed))
        held = ring[start : len(passed)]
        assert held.shape == (len(passed) - start, *shape)
        assert held.dtype == dtype
        np.testing.assert_array_equal(held, np.array(passed[start:], dtype).reshape(held.shape))
        assert len(ring._memory) <= 2 * (most_held + largest)  # whatever has passed


@pytest.mark.parametrize(("first", "last"), [(2, 5), (3, 11), (-1, 5), (7, 6), (0, 0), (11, 11)])
def test_what_is_not_held_is_refused(first, last):
    ring = Ring()
    ring.append(np.zeros(10))
    ring.drop(3)
    with pytest.raises(IndexError, match=f"{first} … {last} of a ring that holds 3 … 10"):
        ring[first:last]


def test_items_are_copied():
    ring, items = Ring(), np.ones(4, np.float32)
    ring.append(items)
    items[:] = 7
    np.testing.assert_array_equal(ring[0:4], 1)


def test_a_full_ring_moves_seldom(monkeypatch):
    """Each move makes room for as much again as is held, so the work an item costs does not depend on it."""
    moves, make_room = [], Ring._make_room
    monkeypatch.setattr(Ring, "_make_room", lambda *given: (moves.append(1), make_room(*given)))
    ring = Ring()
    for _ in range(10_000):
        ring.append(np.zeros(1, np.float32))
        ring.drop(ring.stop - 1000)
    assert len(moves) < 40
