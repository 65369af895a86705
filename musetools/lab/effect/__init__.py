"""What differences in preprocessing do to a model: a mouth that learns to move."""
