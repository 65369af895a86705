"""`musetools extract`: features of many clips."""

import sys
from pathlib import Path

import click

from musetools.cli.group import echo, main, track_options
from musetools.errors import StoreError

__all__ = ["extract"]


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--store", "root", required=True, type=click.Path(path_type=Path), help="Folder of the feature store.")
@click.option("--encoder", default="tiny", show_default=True, help="Whisper weights: a name, a .pt file or a folder.")
@click.option("--spec", help="How a new store's features are made.  [default: musetools]")
@click.option("--dtype", help="What a new store holds: float32 or float16.  [default: float32]")
@click.option("--check", default="musetools", show_default=True, help="The pipeline that is to be trained.")
@click.option("--lenient", is_flag=True, help="Take clips in which the check finds errors, too.")
@track_options
def extract(
    sources: tuple[Path, ...],
    root: Path,
    encoder: str,
    spec: str | None,
    dtype: str | None,
    check: str,
    lenient: bool,
    **tracks: int | None,
) -> None:
    """Extract the features of SOURCES, media files or folders, into a store; a rerun goes on where it stopped."""
    from musetools import FeatureSpec, FeatureStore, load_encoder
    from musetools import extract as run

    weights = load_encoder(encoder)
    if (root / "store.json").exists():
        store = FeatureStore.open(root)
        for asked, holds in ((spec and FeatureSpec.named(spec), store.spec), (dtype, str(store.dtype))):
            if asked not in (None, holds):
                raise StoreError(f"{root} holds {holds}, asked for is {asked}. Leave that out, or use a new store")
    else:
        store = FeatureStore.create(root, spec or "musetools", weights, dtype=dtype or "float32")
    report = run(sources, store, weights, check=check, lenient=lenient, **tracks)
    echo(report)
    echo(store)
    sys.exit(0 if report.ok else 1)
