"""`musetools notebooks`, `run` and `regress`: the notebooks, copied, run and judged."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from musetools.cli.group import echo, main
from musetools.errors import MusetoolsError, ParameterError

__all__ = ["notebooks", "regress", "run"]

OPTION = re.compile(r"-(?!\.?\d)")  # and no negative number


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
    "out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of executed notebooks and report.  [default: the project's runs]",
)
@click.option("--suite", type=click.Path(path_type=Path), help="A TOML file of cases.  [default: the project's]")
@click.option("--baselines", type=click.Path(path_type=Path), help="Their folder.  [default: the project's]")
def regress(**options: Any) -> None:
    """Run the notebooks and compare their results with the baselines; exit code 0 passed, 1 failed, 2 could not run."""
    from musetools.lab.regression import run_suite, write_reports

    with _exits_2():
        report = run_suite(**options, progress=True)
        page = write_reports(report, report.folder)
    echo(report)
    echo(f"\nRegression suite {report.status}. The report: {page}")
    sys.exit(report.exit_code)


@contextmanager
def _exits_2() -> Iterator[None]:
    """End the command with exit code 2 where nothing could be run: 1 stands for a run that failed."""
    try:
        yield
    except MusetoolsError as error:
        echo(f"could not run: {error}", err=True)
        sys.exit(2)


class _Spread(click.Command):
    """Takes any number of values for a name: ``--over NAME A B`` is ``--over NAME A --over NAME B``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        pairs: list[str] = []
        while "--over" in args:
            at = args.index("--over")
            name = "".join(args[at + 1 : at + 2])
            values = [*takewhile(lambda arg: not OPTION.match(arg), args[at + 2 :])]
            if not values:
                raise click.UsageError(f"--over {name} is given no value. Write --over NAME VALUE...")
            pairs += [word for value in values for word in ("--over", name, value)]
            args = args[:at] + args[at + 2 + len(values) :]
        return super().parse_args(ctx, pairs + args)


@main.command(cls=_Spread)
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("-p", "given", nargs=2, multiple=True, metavar="NAME VALUE", help="Value of a parameter for all runs.")
@click.option("--over", nargs=2, multiple=True, metavar="NAME VALUE...", help="Values that are run in turn.")
@click.option("--show", multiple=True, metavar="RESULT", help="A recorded result to show; may be given several times.")
@click.option("--out", default="runs", show_default=True, type=click.Path(path_type=Path), help="Folder of notebooks.")
@click.option("--jobs", type=click.IntRange(1), help="Notebooks at a time.  [default: one a core]")
@click.option("--timeout", "timeout_s", default=600.0, show_default=True, help="Seconds after which a run is ended.")
def run(notebook: Path, given: tuple[tuple[str, str], ...], over: tuple[tuple[str, str], ...], **options: Any) -> None:
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
    with _exits_2():
        if twice := [name for name, n in Counter([*values, *(name for name, _ in given)]).items() if n > 1]:
            raise ParameterError(f"{', '.join(twice)} is given more than once. For several runs: --over NAME VALUE...")
        table, exit_code = run_grid(notebook, dict(given), values, progress=True, **options)
    echo(table)
    sys.exit(exit_code)
