"""The command's group: how errors are shown, and what several commands share."""

import sys
from collections.abc import Callable

import click

from musetools.errors import MusetoolsError

__all__ = ["main", "track_options"]


class Group(click.Group):
    """Shows our errors as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be in no encoding that it knows
        try:
            return super().invoke(ctx)
        except MusetoolsError as error:
            raise click.ClickException(str(error)) from error


def track_options(command: Callable) -> Callable:
    """Add the options that choose tracks."""
    for kind in ("video", "audio"):
        text = f"Use the N-th {kind} track instead of the default one."
        command = click.option(f"--{kind}-track", type=click.IntRange(1), metavar="N", help=text)(command)
    return command


@click.group(cls=Group)
@click.version_option(package_name="musetools")
def main() -> None:
    """See, check and cut the audio side of MuseTalk-style lip-sync models."""
