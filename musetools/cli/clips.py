"""`musetools check` and `musetools fix`: clips before they are used."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from musetools.cli.group import echo, main, track_options

if TYPE_CHECKING:
    from musetools.check.folder import FolderAudit

__all__ = ["check", "fix"]


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--recipe", default="musetools", show_default=True, help="The pipeline that is to be trained or run.")
@click.option("--quick", is_flag=True, help="Read headers and packets alone, decode nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print all findings as JSON.")
@click.option("--lips", is_flag=True, help="Look at lips, too: by how much sound is late against the mouth.")
@click.option("--mouth", type=click.Path(path_type=Path), help="Another tracker's series of the clip's mouth (CSV).")
@click.option(
    "--face",
    nargs=2,
    type=click.FloatRange(0, 1),
    metavar="X Y",
    help="Of several faces, the nearest to a point, 0 … 1.",
)
@click.option(
    "--reach",
    type=click.FloatRange(0, 3, min_open=True),
    help="Seconds that --lips searches on either side.  [default: 0.6]",
)
@track_options
def check(
    paths: tuple[Path, ...],
    recipe: str,
    quick: bool,
    as_json: bool,
    lips: bool,
    mouth: Path | None,
    face: tuple[float, float] | None,
    reach: float | None,
    **tracks: int | None,
) -> None:
    """Check PATHS, clips or folders, for what puts lips out of sync; exit code 1 where a finding is an error."""
    from musetools.check.folder import audit_folder

    looked = lips or mouth is not None or face is not None
    if quick and looked:
        raise click.UsageError("--quick decodes nothing, and --lips, --mouth and --face need pictures. Leave one out")
    if reach and not looked:
        raise click.UsageError("--reach says how far --lips searches. Give --lips, too, or leave it out")
    audit = audit_folder(paths, recipe, quick=quick, **tracks)
    if looked:
        how = {"reach_s": reach} if reach else {}
        audit = _with_lips(audit, mouth=mouth, face=face, **how, **tracks)
    echo(audit.to_json() if as_json else audit)
    if not (looked or as_json):
        echo("Lips were not looked at: --lips tells whether sound is where the mouth is")
    if not as_json:
        for bad in (one for one in audit.audits if one.level != "ok"):
            echo(f"\n{bad}")
    sys.exit(1 if audit.errors else 0)


def _with_lips(audit: "FolderAudit", **options: Any) -> "FolderAudit":
    from musetools import EncoderError, load_encoder
    from musetools.lips.folder import with_lips

    try:
        encoder = load_encoder("tiny.en")
    except EncoderError as error:
        echo(f"lips are compared with loudness alone, which tells less: {error}", err=True)
        encoder = None
    return with_lips(audit, encoder, progress=sys.stderr.isatty(), **options)


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--sound", default=0.0, help="Move sound later by so many ms; negative: earlier.")
@click.option("--fps25", is_flag=True, help="Convert video to 25 frames a second; else it is copied.")
@track_options
def fix(source: Path, target: Path, sound: float, fps25: bool, **tracks: int | None) -> None:
    """Mend the clip SOURCE into the new file TARGET: sound where its time stamps say, moved, padded, cut.

    It becomes AAC, of two channels where it has more than one.
    """
    from musetools.check.mend import fix as run

    echo(run(source, target, sound_ms=sound, fps25=fps25, **tracks))
