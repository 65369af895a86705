"""`musetools check`: clips before they are used."""

import sys
from pathlib import Path

import click

from musetools.cli.group import main, track_options

__all__ = ["check"]


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--recipe", default="musetools", show_default=True, help="The pipeline that is to be trained or run.")
@click.option("--quick", is_flag=True, help="Read headers and packets alone, decode nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print all findings as JSON.")
@track_options
def check(paths: tuple[Path, ...], recipe: str, quick: bool, as_json: bool, **tracks: int | None) -> None:
    """Check PATHS, clips or folders, for what puts lips out of sync; exit code 1 where a finding is an error."""
    from musetools.check.folder import audit_folder

    audit = audit_folder(paths, recipe, quick=quick, **tracks)
    click.echo(audit.to_json() if as_json else audit)
    if not as_json:
        for bad in (one for one in audit.audits if one.level != "ok"):
            click.echo(f"\n{bad}")
    sys.exit(1 if audit.errors else 0)
