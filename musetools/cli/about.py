"""`musetools recipes` and `musetools doctor`: what is known of each pipeline, and of this machine."""

import shutil
import sys
import textwrap

import click

from musetools.cli.group import echo, main

__all__ = ["doctor", "recipes"]


@main.command()
@click.argument("names", nargs=-1, metavar="[RECIPE]...")
def recipes(names: tuple[str, ...]) -> None:
    """Print what is known of each published pipeline, or of some: features, lag at common frame rates, where it stops.

    Lag is in ms over a minute: how far a frame's audio lies in its future. 0…-20 is the rounding to rows of 20 ms.
    """
    from musetools.features.spec import SPEC_NAMES, FeatureSpec
    from musetools.recipes import RECIPES, profile, recipe_of
    from musetools.table import Table
    from musetools.timing import COMMON_FPS

    chosen = [recipe_of(name) for name in names or RECIPES]
    specs = {FeatureSpec.named(name): name for name in reversed(SPEC_NAMES)}  # of equal ones the first name
    rows = []
    for recipe in chosen:
        made, added = specs.get(recipe.features, "its own"), "added" if recipe.positional_encoding else "–"
        rows.append([recipe.name, made, added, *(profile(recipe, fps=fps).lag_text() for fps in COMMON_FPS)])
    echo(Table(["recipe", "features", "positions", *(f"lag at {fps:g} fps" for fps in COMMON_FPS)], rows))
    for recipe in chosen:
        text = f"{recipe.name}, {recipe.version}. {recipe.note} Read in: {recipe.source}."
        echo("\n" + textwrap.fill(text, shutil.get_terminal_size().columns, subsequent_indent="  "))


@main.command()
def doctor() -> None:
    """Print what is found on this machine, what is missing and how to get it; exit code 1 where it cannot work."""
    from musetools.cli.machine import examine

    text, works = examine()
    echo(text)
    sys.exit(0 if works else 1)
