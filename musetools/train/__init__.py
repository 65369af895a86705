"""The training side: features on disk, a Dataset over them, many files at once."""
