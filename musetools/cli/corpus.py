"""`musetools extract` and `musetools store`: features of many clips."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import click

import musetools as mt  # whose names load what they need
from musetools.cli.group import echo, encoder_option, main, track_options
from musetools.errors import StoreError

__all__ = ["extract", "stores"]


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--store", "root", required=True, type=click.Path(path_type=Path), help="Folder of the feature store.")
@encoder_option
@click.option("--spec", help="How a new store's features are made.  [default: musetools]")
@click.option("--dtype", help="What a new store holds: float32 or float16.  [default: float32]")
@click.option("--precision", help="Type of the encoder's products, or auto.  [default: the store's, else float32]")
@click.option("--device", help="Where torch computes.  [default: cuda where there is one, else cpu]")
@click.option("--engine", default="local", show_default=True, help="local, or ray: on a Ray cluster.")
@click.option("--address", help="Of the Ray cluster.  [default: one that is started here]")
@click.option("--jobs", "workers", type=click.IntRange(1), help="Processes that decode.  [default: one a core, 2 to 8]")
@click.option("--shard", metavar="I/N", help="Take the I-th of N parts of the clips, as one of N jobs.")
@click.option("--on-error", default="record", show_default=True, help="record a bad file and go on, or raise.")
@click.option("--check", default="musetools", show_default=True, help="The pipeline that is to be trained.")
@click.option("--lenient", is_flag=True, help="Take clips in which the check finds errors, too.")
@click.option("--lips", is_flag=True, help="Leave out clips whose lips say that the sound is wrong (extra face).")
@track_options
def extract(
    sources: tuple[Path, ...],
    root: Path,
    encoder: str,
    spec: str | None,
    dtype: str | None,
    precision: str | None,
    device: str | None,
    lips: bool,
    **how: Any,
) -> None:
    """Extract the features of SOURCES into a store; a rerun goes on where it stopped.

    SOURCES are media files, folders, globs, and .csv or .parquet tables with a column path, and clip, fps and frames
    where they are known. Exit code 1 if a file failed or is still to do.
    """
    from musetools import extract as run

    there = _opened(root, spec, dtype)
    if there is not None and precision in (None, "auto"):  # which was resolved when the store was made
        precision = there.provenance["encoder"]["dtype"]
    weights = mt.load_encoder(encoder, device=device, dtype=precision or "float32")

    @cache
    def store() -> "mt.FeatureStore":
        try:
            return mt.FeatureStore.create(root, spec or "musetools", weights, dtype=dtype or "float32")
        except StoreError:
            if (made := _opened(root, spec, dtype)) is None:  # by another job, meanwhile
                raise
            return made

    with _by_lips(weights, how) if lips else nullcontext() as refuse:
        report = run(sources, store if there is None else there, weights, refuse=refuse, **how)
    echo(report)
    echo(store() if there is None else there)
    if weights.choice:
        echo(weights)
    sys.exit(report.exit_code)


def _opened(root: Path, spec: str | None, dtype: str | None) -> "mt.FeatureStore | None":
    """Open a store that holds what is asked for; None if there is none."""
    if not (root / "store.json").exists():
        return None
    store = mt.FeatureStore.open(root)
    for asked, holds in ((spec and mt.FeatureSpec.named(spec), store.spec), (dtype, str(store.dtype))):
        if asked not in (None, holds):
            raise StoreError(f"{root} holds {holds}, asked for is {asked}. Leave that out, or use a new store")
    return store


def _by_lips(weights: "mt.Encoder", how: dict[str, Any]) -> AbstractContextManager[Callable[[Path], str | None]]:
    from musetools.lips import MouthModel
    from musetools.lips.folder import lips_errors

    encoder = weights if MouthModel.load().fits(weights) else mt.load_encoder("tiny.en")
    return lips_errors(encoder, audio_track=how["audio_track"], video_track=how["video_track"])


@main.group("store")
def stores() -> None:
    """Verify, repair, show, merge and export stores of features."""


_store_folder = click.argument("root", metavar="DIR", type=click.Path(path_type=Path))


@stores.command()
@_store_folder
def verify(root: Path) -> None:
    """Read every file of DIR, a store or its exported shards, and compare it with the list; exit code 1 at damage."""
    from musetools.train import verify_shards

    found = verify_shards(root) if (root / "index.json").exists() else mt.FeatureStore.open(root).verify()
    echo(found)
    sys.exit(0 if found.ok else 1)


@stores.command()
@_store_folder
def repair(root: Path) -> None:
    """Remove from the store DIR what is damaged, so that the next extraction makes it again."""
    found = mt.FeatureStore.open(root).verify(repair=True)
    echo(found)
    echo(f"{len(found.bad)} clips were removed: extract makes them again")


@stores.command()
@_store_folder
def info(root: Path) -> None:
    """Show what the store DIR holds and how it was made."""
    store = mt.FeatureStore.open(root)
    echo(f"{store}\n{store.size_mib():.0f} MiB, {store.spec}")
    echo(", ".join(f"{name} {version}" for name, version in store.provenance["libraries"].items()))


@stores.command()
@_store_folder
@click.argument("others", metavar="OTHERS...", nargs=-1, required=True, type=click.Path(path_type=Path))
def merge(root: Path, others: tuple[Path, ...]) -> None:
    """Copy the clips of OTHERS, stores that were made in the same way, into the store DIR."""
    store = mt.FeatureStore.open(root)
    for other in others:
        echo(f"{store.merge(mt.FeatureStore.open(other))} clips of {other} are new")
    echo(store)


@stores.command()
@_store_folder
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--shard-size", type=click.IntRange(1), default=256, show_default=True, help="Clips a shard.")
def export(root: Path, folder: Path, shard_size: int) -> None:
    """Write the store DIR as tar shards for webdataset into FOLDER."""
    echo(mt.FeatureStore.open(root).export_webdataset(folder, shard_size))
