"""The training side: features on disk with their provenance, a Dataset over them, many files at once."""

from musetools.chunks.settings import ChunkSettings
from musetools.train.corpus import ExtractReport, extract
from musetools.train.dataset import ChunkDataset
from musetools.train.loader import ChunkLoader
from musetools.train.shards import verify_shards
from musetools.train.store import FeatureStore

__all__ = ["ChunkDataset", "ChunkLoader", "ChunkSettings", "ExtractReport", "FeatureStore", "extract", "verify_shards"]
