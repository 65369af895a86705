"""`musetools notebooks`, `run` and `regress`: the notebooks, copied, run and judged."""

import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import click

from musetools.cli.group import echo, exits_2, main
from musetools.errors import MusetoolsError, ParameterError

__all__ = ["notebooks", "regress", "run"]

NUMBER = re.compile(r"-\.?\d")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def notebooks(folder: Path) -> None:
    """Copy the notebooks and their sample media to FOLDER, where Jupyter and papermill can run them."""
    from musetools.lab.project import copy_notebooks

    echo(f"Notebooks and sample media are in {copy_notebooks(folder)}: jupyter lab {folder / 'notebooks'}")


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

    with exits_2("could not run", MusetoolsError):
        how = {"update": update, "encoder": encoder, "out": folder, "baselines": baselines}
        report = run_suite(suite, only=only, jobs=jobs, progress=True, **how)
        page = write_reports(report, report.folder)
    echo(report)
    echo(f"\nRegression suite {report.status}. The report: {page}")
    sys.exit(report.exit_code)


class _Spread(click.Command):
    """Takes any number of values for a name: ``--over NAME A B`` is ``--over NAME A --over NAME B``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        name = None  # of the parameter whose values are being read
        for before, arg in pairwise(["", *args]):
            if before == "--over":
                name = arg
            elif name is not None and (not arg.startswith("-") or NUMBER.match(arg)):
                spread += ["--over", name, arg]
            elif arg != "--over":
                name = None
                spread.append(arg)
        if alone := {arg for before, arg in pairwise(args) if before == "--over"} - set(spread):
            raise click.UsageError(f"--over {alone.pop()} is given no value. Write --over NAME VALUE...")
        return super().parse_args(ctx, spread + [arg for arg in args[-1:] if arg == "--over"])


@main.command(cls=_Spread)
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("-p", "given", nargs=2, multiple=True, metavar="NAME VALUE", help="Value of a parameter for all runs.")
@click.option("--over", nargs=2, multiple=True, metavar="NAME VALUE...", help="Values that are run in turn.")
@click.option("--show", multiple=True, metavar="RESULT", help="A recorded result to show; may be given several times.")
@click.option("--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder of notebooks.")
@click.option("--jobs", type=click.IntRange(1), help="Notebooks at a time.  [default: one a core]")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds after which a run is ended.")
def run(
    notebook: Path,
    given: tuple[tuple[str, str], ...],
    over: tuple[tuple[str, str], ...],
    show: tuple[str, ...],
    out: Path,
    jobs: int | None,
    timeout: float,
) -> None:
    """Run NOTEBOOK with other parameters, or over every combination of several; exit code 0, 1 or 2 as of regress.

    All names and types are checked before the first run starts. Over four files and two rates, eight runs:

    \b
    musetools run notebooks/01_train_vs_inference.ipynb -p encoder tiny.en \\
        --over audio a.mp4 b.mp4 c.mp4 d.mp4 --over fps 25 29.97
    """  # noqa: D301 - click wants the backspace itself
    from musetools.lab.regression.grid import run_grid

    values: dict[str, list[str]] = {}
    for name, value in over:
        values.setdefault(name, []).append(value)
    with exits_2("could not run", MusetoolsError):
        if twice := [name for name, n in Counter(name for name, _ in given).items() if n > 1]:
            raise ParameterError(f"-p gives {', '.join(twice)} more than once. For several runs: --over NAME VALUE...")
        options = {"out": out, "jobs": jobs, "timeout_s": timeout, "show": show, "progress": True}
        report = run_grid(notebook, dict(given), values, **options)
    echo(report)
    sys.exit(report.exit_code)
