"""The command's group: how errors are shown, and what several commands share."""

import sys
import warnings
from collections.abc import Callable

import click

from musetools.errors import MusetoolsError, ParameterError
from musetools.table import printable

__all__ = ["echo", "encoder_option", "main", "track_options"]


class Group(click.Group):
    """Shows our errors as one line, without a traceback, and the summary of each command in full."""

    def invoke(self, ctx: click.Context) -> object:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be in no encoding that it knows
        usual, warnings.formatwarning = warnings.formatwarning, _as_a_line
        try:
            return super().invoke(ctx)
        except MusetoolsError as error:
            shown = click.ClickException(printable(str(error)))
            shown.exit_code = 2 if isinstance(error, ParameterError) else 1  # 2 is wrong usage, as click has it
            raise shown from error
        finally:
            warnings.formatwarning = usual

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(command)) for name, command in sorted(self.commands.items())])
        if ctx.parent is None:
            with formatter.section("Names"):
                formatter.write_dl(_names())


def echo(what: object, *, err: bool = False) -> None:
    """Print, whatever characters the names of files hold."""
    click.echo(printable(str(what)), err=err)


def _as_a_line(message: object, *_: object) -> str:
    return f"Warning: {printable(str(message))}\n"


Group.group_class = Group  # groups within it are of its kind


def _summary(command: click.Command) -> str:
    """Return the first paragraph of a command's help, where click would cut it off."""
    return " ".join((command.help or "").split("\n\n")[0].split())


def _names() -> list[tuple[str, str]]:
    """List what may be named wherever a spec, a recipe or an encoder is; nothing heavy is imported for it."""
    from musetools.features.published import PUBLISHED
    from musetools.features.spec import SPEC_NAMES
    from musetools.recipes.recipe import RECIPES

    own = "the path of a .pt file or a model's folder; untrained-tiny, untrained-base …, for structure alone"
    named = {"specs": SPEC_NAMES, "recipes": RECIPES, "encoders": (*PUBLISHED, own)}
    return [(kind, ", ".join(names)) for kind, names in named.items()]


encoder_option = click.option(
    "--encoder", default="tiny", show_default=True, help="Whisper weights: a name, a .pt file or a folder."
)


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
