"""The `musetools` command: a module a group of commands, which register themselves with `main`."""

from musetools.cli import about, clips, code, corpus, notebooks  # noqa: F401
from musetools.cli.group import main

__all__ = ["main"]
