"""Commands for code and features of one's own: `musetools trace`, `identify` and `contract`."""

import sys
from pathlib import Path

import click

from musetools.cli.group import echo, encoder_option, main
from musetools.timing import COMMON_FPS

__all__ = ["contract", "identify", "trace"]


@main.command()
@click.argument("function", metavar="MODULE:FUNCTION")
@click.option("--fps", "rates", multiple=True, type=float, default=COMMON_FPS, show_default=True)
@click.option("--seconds", default=60.0, show_default=True, help="Length of the clip that is chunked.")
def trace(function: str, rates: tuple[float, ...], seconds: float) -> None:
    """Read the index matrix of your own chunker, a function of (features, fps), and name the recipe that it equals.

    The module is imported from the working folder, or from where Python finds it.
    """
    from musetools.recipes.identify import trace_at_rates

    table = trace_at_rates(function, rates, seconds)
    echo(f"{function} was imported from {Path.cwd()} or Python's path, and given {seconds:g} s of numbered rows")
    echo(table)


@main.command()
@click.argument("features", type=click.Path(path_type=Path, exists=True))
@click.option("--audio", required=True, type=click.Path(path_type=Path), help="What they are said to be made of.")
@encoder_option
def identify(features: Path, audio: Path, encoder: str) -> None:
    """Find which published pipeline made FEATURES: a .npy or .pt file, or a folder of one .npy a frame."""
    from musetools import identify_features, load_encoder

    echo(identify_features(features, audio, load_encoder(encoder)))


@main.group()
def contract() -> None:
    """Show, compare and check audio contracts, which lie beside checkpoints."""


@contract.command()
@click.argument("path", type=click.Path(path_type=Path))
def show(path: Path) -> None:
    """Print what the contract PATH says."""
    from musetools import AudioContract

    echo(AudioContract.load(path))


@contract.command()
@click.argument("paths", nargs=2, metavar="A B", type=click.Path(path_type=Path))
def diff(paths: tuple[Path, Path]) -> None:
    """Print in what two contracts differ, A as "here", B as "there"; exit code 1 where they do."""
    from musetools import AudioContract

    first, second = map(AudioContract.load, paths)
    found = first.differences(second)
    echo("\n".join(found) or "they say the same")
    sys.exit(1 if found else 0)


@contract.command("check")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("function", metavar="MODULE:FUNCTION")
def check_contract(path: Path, function: str) -> None:
    """Run your own function, from the path of a wav to chunks, on a contract's probe; exit code 1 at a fault.

    The module is imported from the working folder, or from where Python finds it.
    """
    from musetools import AudioContract
    from musetools.recipes.identify import chunker_named

    found = AudioContract.load(path).check(chunker_named(function))
    echo(found)
    sys.exit(0 if found.ok else 1)
