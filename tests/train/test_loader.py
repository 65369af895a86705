"""A loader's order is the same for everyone, shared without overlap, and taken up again where it was left."""

import json
from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stores import make_store, rows_of
from torch.utils.data import ConcatDataset, Subset

from musetools import ChunkDataset, ParameterError
from musetools.train.loader import ChunkLoader, SeededOrder

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

EVERYTHING = {(clip, frame) for clip in "abcd" for frame in range(2, 28)}
Frames = list[tuple[str, int]]


@pytest.fixture
def dataset(store) -> ChunkDataset:
    return ChunkDataset(store)


def batches(loader: ChunkLoader) -> Iterator[Frames]:
    for batch in loader:
        assert len(batch["audio"]) == len(batch["clip"])
        yield list(zip(batch["clip"], batch["frame"].tolist(), strict=True))


def epoch(loader: ChunkLoader) -> Frames:
    return [frame for batch in batches(loader) for frame in batch]


# --- the order


@given(st.integers(0, 200), st.integers(1, 7), st.integers(0, 5), st.integers(0, 3), st.booleans())
def test_shares_are_disjoint_and_even(n, world, seed, number, shuffle):
    shares = []
    for rank in range(world):
        order = SeededOrder(n, seed=seed, shuffle=shuffle, rank=rank, world=world)
        order.epoch = number
        shares.append(list(order))
        assert len(shares[-1]) == len(order) == n // world
    taken = [index for share in shares for index in share]
    assert len(taken) == len(set(taken)) == n - n % world
    assert set(taken) <= set(range(n))
    if not shuffle:
        assert sorted(taken) == list(range(n - n % world))


def test_what_one_epoch_leaves_out_another_takes():
    orders = []
    for number in range(20):
        orders.append(SeededOrder(7, world=3))
        orders[-1].epoch = number
    assert {index for order in orders for index in order} > set(range(5))


@given(st.integers(1, 200), st.integers(0, 200), st.integers(1, 4))
def test_a_skip_leaves_out_the_beginning(n, skip, world):
    order = SeededOrder(n, world=world)
    whole = list(order)
    order.skip = min(skip, len(whole))
    assert list(order) == whole[order.skip :]


ORDERS = [(0, 0, [4, 0, 5, 3, 2, 6, 1]), (0, 1, [0, 6, 1, 3, 5, 2, 4]), (5, 2, [1, 6, 3, 4, 5, 2, 0])]


@pytest.mark.parametrize(("seed", "number", "expected"), ORDERS)
def test_orders_stay_what_they_were(seed, number, expected):
    order = SeededOrder(7, seed=seed)
    order.epoch = number
    assert list(order) == expected


@pytest.mark.parametrize(("rank", "world"), [(1, 1), (-1, 2), (2, 2), (0, 0)])
def test_impossible_ranks(dataset, rank, world):
    with pytest.raises(ParameterError, match=f"got rank {rank} of {world}"):
        ChunkLoader(dataset, 8, rank=rank, world=world)


# --- epochs


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_is_everything_once(dataset, workers):
    loader = ChunkLoader(dataset, 10, num_workers=workers)
    assert len(loader) == 11
    seen = list(batches(loader))
    assert [len(batch) for batch in seen] == [10] * 10 + [4]
    assert {frame for batch in seen for frame in batch} == EVERYTHING


def test_chunks_go_with_their_frames(dataset):
    for batch in ChunkLoader(dataset, 16):
        for chunk, clip, frame in zip(batch["audio"], batch["clip"], batch["frame"].tolist(), strict=True):
            assert chunk.numpy().tobytes() == rows_of(clip)[2 * frame - 4 : 2 * frame + 6].tobytes()


def test_a_seed_is_an_order_and_every_epoch_another(dataset):
    one, two, other = (ChunkLoader(dataset, 16, seed=seed) for seed in (5, 5, 6))
    first, second = [epoch(one), epoch(one)], [epoch(two), epoch(two)]
    assert first == second
    assert first[0] != first[1]
    assert first[0] != epoch(other) != first[1]


def test_the_order_does_not_depend_on_torchs_seed_nor_on_workers(dataset):
    orders = []
    for seed, workers in ((1, 0), (2, 0), (3, 2)):
        torch.manual_seed(seed)
        orders.append(epoch(ChunkLoader(dataset, 16, num_workers=workers)))
    assert orders[0] == orders[1] == orders[2]


def test_without_shuffling(dataset):
    loader = ChunkLoader(dataset, 16, shuffle=False)
    assert epoch(loader) == epoch(loader) == [(clip, frame) for clip in "abcd" for frame in range(2, 28)]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_an_epoch(dataset, world):
    loaders = [ChunkLoader(dataset, 8, seed=1, rank=rank, world=world) for rank in range(world)]
    for _ in range(2):
        shares = [epoch(loader) for loader in loaders]
        assert {len(share) for share in shares} == {len(EVERYTHING) // world}
        together = [frame for share in shares for frame in share]
        assert len(set(together)) == len(together)
        assert len(EVERYTHING) - len(together) == len(EVERYTHING) % world


# --- left and taken up again


@pytest.mark.parametrize(("taken", "workers"), [*((n, 0) for n in (0, 1, 6, 7, 10, 14, 20)), (1, 2), (10, 2)])
def test_left_and_taken_up_again(dataset, workers, taken):
    """Seven batches an epoch: left at its start, within it, at its end, and in a later one."""
    loader, whole = ChunkLoader(dataset, 16, seed=2), []
    for _ in range(4):
        whole += batches(loader)
    loader, before = ChunkLoader(dataset, 16, seed=2, num_workers=workers), []
    while len(before) < taken:
        before += islice(batches(loader), min(7, taken - len(before)))
    again = ChunkLoader(dataset, 16, seed=2, num_workers=workers)
    again.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    after = []
    while len(before) + len(after) < len(whole):
        after += batches(again)
    assert before + after == whole


def test_an_epoch_that_was_broken_off_goes_on(dataset):
    loader = ChunkLoader(dataset, 16)
    whole = list(batches(ChunkLoader(dataset, 16)))
    assert list(islice(batches(loader), 3)) + list(batches(loader)) == whole


def test_the_length_is_what_is_left(dataset):
    """A progress bar asks for it before the first batch."""
    loader = ChunkLoader(dataset, 16)
    loader.load_state_dict(loader.state_dict() | {"batches": 3})
    assert len(loader) == len(list(loader)) == 4
    assert len(loader) == len(list(loader)) == 7


def test_a_rank_takes_up_its_own_share(dataset):
    loader = ChunkLoader(dataset, 8, rank=1, world=2)
    whole = epoch(ChunkLoader(dataset, 8, rank=1, world=2))
    head = [frame for batch in islice(batches(loader), 2) for frame in batch]
    again = ChunkLoader(dataset, 8, rank=1, world=2)
    again.load_state_dict(loader.state_dict())
    assert head + epoch(again) == whole


CHANGES = {"seed": {"seed": 1}, "shuffle": {"shuffle": False}, "world": {"rank": 0, "world": 2}}


@pytest.mark.parametrize("name", CHANGES)
def test_a_state_of_another_order_is_refused(dataset, name):
    state = ChunkLoader(dataset, 16).state_dict()
    with pytest.raises(ParameterError, match=rf"the order that was left is another one: {name}: .* here, .* there"):
        ChunkLoader(dataset, 16, **CHANGES[name]).load_state_dict(state)


def test_a_state_may_hold_more_than_the_order(dataset):
    again = ChunkLoader(dataset, 16)
    again.load_state_dict(ChunkLoader(dataset, 16).state_dict() | {"batches": 2, "step": 7})
    assert again.batches == 2


def test_a_state_of_another_batch_size_is_refused(dataset):
    with pytest.raises(ParameterError, match="batch_size: 8 here, 16 there"):
        ChunkLoader(dataset, 8).load_state_dict(ChunkLoader(dataset, 16).state_dict())


@pytest.mark.parametrize("state", [{}, {"epoch": 1, "batches": 2}])
def test_a_state_of_something_else_is_refused(dataset, state):
    with pytest.raises(ParameterError, match="the order that was left is another one"):
        ChunkLoader(dataset, 16).load_state_dict(state)


def test_a_state_of_another_dataset_is_refused(tmp_path, small, dataset):
    state = ChunkLoader(dataset, 16).state_dict()
    longer = ChunkDataset(make_store(tmp_path / "longer", small, "abcd", 62))
    with pytest.raises(ParameterError, match="n: 108 here, 104 there"):
        ChunkLoader(longer, 16).load_state_dict(state)


def test_a_state_of_as_many_other_samples_is_refused(tmp_path, small, dataset):
    state = ChunkLoader(dataset, 16).state_dict()
    other = ChunkDataset(make_store(tmp_path / "other", small, "abce"))
    with pytest.raises(ParameterError, match="the order that was left is another one"):
        ChunkLoader(other, 16).load_state_dict(state)


def joined(store) -> ConcatDataset:
    return ConcatDataset([ChunkDataset(store), ChunkDataset(store, 24)])


def part(store) -> Subset:
    return Subset(joined(store), range(5, 90, 2))


@pytest.mark.parametrize("of", [joined, part])
def test_parts_of_a_dataset_and_several_joined_go_on_too(of, dataset):
    """As a split into training and validation is made, and as several stores are trained on together."""
    whole = [(batch["clip"], batch["frame"].tolist()) for batch in ChunkLoader(of(dataset.store), 8)]
    first = ChunkLoader(of(dataset.store), 8)
    begun = list(islice(first, 2))
    rest = ChunkLoader(of(dataset.store), 8)
    rest.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [(batch["clip"], batch["frame"].tolist()) for batch in (*begun, *rest)] == whole
    another = ChunkLoader(Subset(dataset, range(len(first.order))), 8)
    with pytest.raises(ParameterError, match="the order that was left is another one"):
        another.load_state_dict(first.state_dict())


@pytest.mark.parametrize("other", [None, range(40), ConcatDataset([range(3), range(4)])])
def test_what_holds_other_items_is_refused_at_once(other):
    with pytest.raises(ParameterError, match="ChunkLoader takes a ChunkDataset"):
        ChunkLoader(other, 8)
