"""Batches in an order that is the same for everyone and can be taken up again where it was left."""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler, Subset

from musetools.errors import ParameterError
from musetools.recipes.contract import differing
from musetools.train.dataset import ChunkDataset

__all__ = ["ChunkLoader", "SeededOrder"]

SEED_STEP = 1_000_003


class SeededOrder(DistributedSampler):
    """The order of n items in an epoch: a permutation by seed and epoch, of which each rank takes an equal share."""

    def __init__(self, n: int, *, seed: int = 0, shuffle: bool = True, rank: int = 0, world: int = 1):
        if not 0 <= rank < world:
            raise ParameterError(f"rank must be one of 0 … world - 1; got rank {rank} of {world}")
        # torch adds the epoch to the seed: far apart, no epoch of one seed is an epoch of another
        super().__init__(range(n), world, rank, shuffle, seed * SEED_STEP, drop_last=True)
        self.skip = 0  # items of this rank's share that are left out at the start

    def __iter__(self) -> Iterator[int]:
        return islice(super().__iter__(), self.skip, None)


class ChunkLoader:
    """Batches of a `ChunkDataset`, epoch after epoch, resumable to the batch.

    torch's Subset and ConcatDataset of such will do: a part for validation, several stores trained on together.
    This process takes share `rank` of `world` equal ones; what cannot be shared out is left for other epochs. `options`
    go to `torch.utils.data.DataLoader`. Features alone load fastest without workers; use workers where the dataset's
    `frames` decodes video.
    """

    def __init__(
        self,
        dataset: ChunkDataset | Subset | ConcatDataset,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        **options: Any,
    ):
        self.items = _fingerprint(dataset)
        self.order = SeededOrder(len(dataset), seed=seed, shuffle=shuffle, rank=rank, world=world)
        self.loader = DataLoader(dataset, batch_size, sampler=self.order, **options)
        self.batches = 0  # of this epoch, handed out

    def __len__(self) -> int:
        """Count the batches that are left of this epoch."""
        return len(self.loader) - self.batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Hand out the rest of this epoch; the next call hands out the next."""
        self.order.skip = self.batches * self.loader.batch_size
        for batch in self.loader:
            self.batches += 1
            yield batch
        self.batches, self.order.epoch = 0, self.order.epoch + 1

    def state_dict(self) -> dict[str, Any]:
        """Say which order this is, and how far it has been handed out."""
        order = self.order
        return {
            "n": len(self.loader.dataset),
            "seed": order.seed // SEED_STEP,
            "shuffle": order.shuffle,
            "world": order.num_replicas,
            "batch_size": self.loader.batch_size,
            "items": self.items,
            "epoch": order.epoch,
            "batches": self.batches,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the order was left; ParameterError if it was of another dataset, seed, batch size or world."""
        ours = self.state_dict() | {name: state.get(name) for name in ("epoch", "batches")}
        if other := differing(ours, {name: state.get(name) for name in ours}, "here", "there"):
            raise ParameterError(
                f"the order that was left is another one: {'; '.join(other)}. Start anew, or use the same"
            )
        self.order.epoch, self.batches = state["epoch"], state["batches"]


def _fingerprint(dataset: Dataset) -> str:
    """Return a hash of what each index means, see `ChunkDataset.fingerprint`; ParameterError if none can be had."""
    if isinstance(dataset, ChunkDataset):
        return dataset.fingerprint()
    if isinstance(dataset, Subset):
        content = [_fingerprint(dataset.dataset), *map(int, dataset.indices)]
    elif isinstance(dataset, ConcatDataset):
        content = [_fingerprint(one) for one in dataset.datasets]
    else:
        raise ParameterError(
            f"ChunkLoader takes a ChunkDataset, or torch's Subset or ConcatDataset of such; got {dataset!r:.80}. "
            "Use torch.utils.data.DataLoader"
        )
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
