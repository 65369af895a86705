"""The `musetools` command."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from musetools.errors import MusetoolsError, StoreError

if TYPE_CHECKING:
    from musetools import Encoder, FeatureStore

__all__ = ["main"]


class _Group(click.Group):
    """Shows our errors as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be in no encoding that it knows
        try:
            return super().invoke(ctx)
        except MusetoolsError as error:
            raise click.ClickException(str(error)) from error


def _tracks(command: Callable) -> Callable:
    """Add the options that choose tracks."""
    for kind in ("video", "audio"):
        text = f"Use the N-th {kind} track instead of the default one."
        command = click.option(f"--{kind}-track", type=click.IntRange(1), metavar="N", help=text)(command)
    return command


@click.group(cls=_Group)
@click.version_option(package_name="musetools")
def main() -> None:
    """See, check and cut the audio side of MuseTalk-style lip-sync models."""


@main.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--store", "root", required=True, type=click.Path(path_type=Path), help="Folder of the feature store.")
@click.option("--encoder", default="tiny", show_default=True, help="Whisper weights: a name, a .pt file or a folder.")
@click.option("--spec", help="How a new store's features are made.  [default: musetools]")
@click.option("--dtype", help="What a new store holds: float32 or float16.  [default: float32]")
@click.option("--device", help="Where torch computes.  [default: cuda where there is one, else cpu]")
@click.option("--engine", default="local", show_default=True, help="local, or ray: on a Ray cluster.")
@click.option("--address", help="Of the Ray cluster.  [default: one that is started here]")
@click.option("--jobs", "workers", type=click.IntRange(1), help="Processes that decode.  [default: one a core, 2 to 8]")
@click.option("--shard", metavar="I/N", help="Take the I-th of N parts of the clips, as one of N jobs.")
@click.option("--on-error", default="record", show_default=True, help="record a bad file and go on, or raise.")
@click.option("--check", default="musetools", show_default=True, help="The pipeline that is to be trained.")
@click.option("--lenient", is_flag=True, help="Take clips in which the check finds errors, too.")
@_tracks
def extract(
    sources: tuple[Path, ...],
    root: Path,
    encoder: str,
    spec: str | None,
    dtype: str | None,
    device: str | None,
    **how: Any,
) -> None:
    """Extract the features of SOURCES into a store; a rerun goes on where it stopped.

    SOURCES are media files, folders, globs, and .csv or .parquet tables with a column path, and clip, fps and frames
    where they are known. Exit code 1 if a file failed or was not come to.
    """
    from musetools import extract as run
    from musetools import load_encoder

    weights = load_encoder(encoder, device=device)
    store = _opened_or_made(root, weights, spec, dtype)
    report = run(sources, store, weights, **how)
    click.echo(report)
    click.echo(store)
    sys.exit(report.exit_code)


def _opened_or_made(root: Path, weights: "Encoder", spec: str | None, dtype: str | None) -> "FeatureStore":
    """Open a store, or make it if there is none; several jobs may start at once."""
    from musetools import FeatureSpec, FeatureStore

    if not (root / "store.json").exists():
        try:
            return FeatureStore.create(root, spec or "musetools", weights, dtype=dtype or "float32")
        except StoreError:
            if not (root / "store.json").exists():
                raise  # else another job was faster
    store = FeatureStore.open(root)
    for asked, holds in ((spec and FeatureSpec.named(spec), store.spec), (dtype, str(store.dtype))):
        if asked not in (None, holds):
            raise StoreError(f"{root} holds {holds}, asked for is {asked}. Leave that out, or use a new store")
    return store


@main.group("store")
def stores() -> None:
    """Verify, repair, show, merge and export stores of features."""


_store_folder = click.argument("root", metavar="DIR", type=click.Path(path_type=Path))


@stores.command()
@_store_folder
def verify(root: Path) -> None:
    """Read every file of DIR, a store or its exported shards, and compare it with the list; exit code 1 at damage."""
    from musetools import FeatureStore
    from musetools.train import verify_shards

    found = verify_shards(root) if (root / "index.json").exists() else FeatureStore.open(root).verify()
    click.echo(found)
    sys.exit(0 if found.ok else 1)


@stores.command()
@_store_folder
def repair(root: Path) -> None:
    """Remove from the store DIR what is damaged, so that the next extraction makes it again."""
    from musetools import FeatureStore

    found = FeatureStore.open(root).verify(repair=True)
    click.echo(found)
    click.echo(f"{len(found.bad)} clips were removed: extract makes them again")


@stores.command()
@_store_folder
def info(root: Path) -> None:
    """Show what the store DIR holds and how it was made."""
    from musetools import FeatureStore

    store = FeatureStore.open(root)
    click.echo(f"{store}\n{store.size_mib():.0f} MiB, {store.spec}")
    click.echo(", ".join(f"{name} {version}" for name, version in store.provenance["libraries"].items()))


@stores.command()
@_store_folder
@click.argument("others", metavar="OTHERS", nargs=-1, required=True, type=click.Path(path_type=Path))
def merge(root: Path, others: tuple[Path, ...]) -> None:
    """Copy the clips of OTHERS, stores that were made in the same way, into the store DIR."""
    from musetools import FeatureStore

    store = FeatureStore.open(root)
    for other in others:
        click.echo(f"{store.merge(FeatureStore.open(other))} clips of {other} are new")
    click.echo(store)


@stores.command()
@_store_folder
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--shard-size", type=click.IntRange(1), default=256, show_default=True, help="Clips a shard.")
def export(root: Path, folder: Path, shard_size: int) -> None:
    """Write the store DIR as tar shards for webdataset into FOLDER."""
    from musetools import FeatureStore

    click.echo(FeatureStore.open(root).export_webdataset(folder, shard_size))


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--recipe", default="musetools", show_default=True, help="The pipeline that is to be trained or run.")
@click.option("--quick", is_flag=True, help="Read headers and packets alone, decode nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print all findings as JSON.")
@_tracks
def check(paths: tuple[Path, ...], recipe: str, quick: bool, as_json: bool, **tracks: int | None) -> None:
    """Check PATHS, clips or folders, for what puts lips out of sync; exit code 1 where a finding is an error."""
    from musetools.check.folder import audit_folder

    audit = audit_folder(paths, recipe, quick=quick, **tracks)
    click.echo(audit.to_json() if as_json else audit)
    if not as_json:
        for bad in (one for one in audit.audits if one.level != "ok"):
            click.echo(f"\n{bad}")
    sys.exit(1 if audit.errors else 0)


@main.command()
@click.option("--only", multiple=True, help="Run the cases whose name starts so; may be given several times.")
@click.option("--jobs", type=click.IntRange(1), help="Cases at a time.  [default: one a core]")
@click.option("--update", is_flag=True, help="Run each case four times and make its baseline anew.")
@click.option("--encoder", help="Run with other Whisper weights, which are compared with no baseline.")
@click.option(
    "--report",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of executed notebooks and report.  [default: the project's runs]",
)
@click.option("--suite", type=click.Path(path_type=Path), help="A TOML file of cases.  [default: the project's]")
@click.option("--baselines", type=click.Path(path_type=Path), help="Their folder.  [default: the project's]")
def regress(
    only: tuple[str, ...],
    jobs: int | None,
    update: bool,
    encoder: str | None,
    folder: Path | None,
    suite: Path | None,
    baselines: Path | None,
) -> None:
    """Run the notebooks and compare their results with the baselines; exit code 0 passed, 1 failed, 2 could not run."""
    from musetools.lab.regression import run_suite, write_reports

    try:
        how = {"update": update, "encoder": encoder, "out": folder, "baselines": baselines}
        report = run_suite(suite, only=only, jobs=jobs, progress=True, **how)
        page = write_reports(report, report.folder)
    except MusetoolsError as error:
        click.echo(f"could not run: {error}", err=True)
        sys.exit(2)
    click.echo(report)
    click.echo(f"\nRegression suite {report.status}. The report: {page}")
    sys.exit(report.exit_code)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def notebooks(folder: Path) -> None:
    """Copy the notebooks and their sample media to FOLDER, where Jupyter and papermill can run them."""
    from musetools.lab.project import copy_notebooks

    click.echo(f"Notebooks and sample media are in {copy_notebooks(folder)}: jupyter lab {folder / 'notebooks'}")


@main.command()
@click.argument("function", metavar="MODULE:FUNCTION")
@click.option("--fps", "rates", multiple=True, type=float, default=(24, 25, 29.97, 30), show_default=True)
@click.option("--seconds", default=60.0, show_default=True, help="Length of the clip that is chunked.")
def trace(function: str, rates: tuple[float, ...], seconds: float) -> None:
    """Read the index matrix of your own chunker, a function of (features, fps), and name the recipe that it equals.

    The module is imported from the working folder, or from where Python finds it.
    """
    from musetools.recipes.identify import trace_at_rates

    table = trace_at_rates(function, rates, seconds)
    click.echo(f"{function} was imported from {Path.cwd()} or Python's path, and given {seconds:g} s of numbered rows")
    click.echo(table)


@main.command()
@click.argument("features", type=click.Path(path_type=Path, exists=True))
@click.option("--audio", required=True, type=click.Path(path_type=Path), help="What they are said to be made of.")
@click.option("--encoder", default="tiny", show_default=True, help="Whisper weights: a name, a .pt file or a folder.")
def identify(features: Path, audio: Path, encoder: str) -> None:
    """Find which published pipeline made FEATURES: a .npy or .pt file, or a folder of one .npy a frame."""
    from musetools import identify_features, load_encoder

    click.echo(identify_features(features, audio, load_encoder(encoder)))


@main.group()
def contract() -> None:
    """Show, compare and check audio contracts, which lie beside checkpoints."""


@contract.command()
@click.argument("path", type=click.Path(path_type=Path))
def show(path: Path) -> None:
    """Print what the contract PATH says."""
    from musetools import AudioContract

    click.echo(AudioContract.load(path))


@contract.command()
@click.argument("paths", nargs=2, type=click.Path(path_type=Path))
def diff(paths: tuple[Path, Path]) -> None:
    """Print in what two contracts differ; exit code 1 where they do."""
    from musetools import AudioContract

    first, second = map(AudioContract.load, paths)
    found = first.differences(second)
    click.echo("\n".join(found) or "they say the same")
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
    click.echo(found)
    sys.exit(0 if found.ok else 1)
