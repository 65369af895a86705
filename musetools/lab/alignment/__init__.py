"""Whether sound and picture are where they should be."""
