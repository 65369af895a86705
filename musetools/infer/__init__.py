"""The inference side: live streams, and drop-in classes for existing code bases."""

from musetools.infer.live import LiveChunk
from musetools.infer.many import push_many
from musetools.infer.stream import ChunkStream

__all__ = ["ChunkStream", "LiveChunk", "push_many"]
