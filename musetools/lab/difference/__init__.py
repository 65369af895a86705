"""Whether training and inference cut the same chunks."""

from musetools.lab.difference.comparison import Comparison
from musetools.lab.difference.measure import compare

__all__ = ["Comparison", "compare"]
