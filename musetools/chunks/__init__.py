"""Feature rows in, one chunk per video frame out: a chunker is an index matrix, and one gather turns it into chunks."""

from musetools.chunks.rows import chunk_rows
from musetools.chunks.sequence import Chunks, feature2chunks

__all__ = ["Chunks", "chunk_rows", "feature2chunks"]
