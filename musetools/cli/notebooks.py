"""`musetools notebooks` and `musetools regress`: the notebooks, copied and judged."""

import sys
from pathlib import Path

import click

from musetools.cli.group import main
from musetools.errors import MusetoolsError

__all__ = ["notebooks", "regress"]


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def notebooks(folder: Path) -> None:
    """Copy the notebooks and their sample media to FOLDER, where Jupyter and papermill can run them."""
    from musetools.lab.project import copy_notebooks

    click.echo(f"Notebooks and sample media are in {copy_notebooks(folder)}: jupyter lab {folder / 'notebooks'}")


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
