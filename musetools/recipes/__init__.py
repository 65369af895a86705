"""The published pipelines as data."""
