"""Whether training and inference cut the same chunks."""
