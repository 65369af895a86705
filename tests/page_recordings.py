"""Writes what a check of the recordings prints as a page: ``python tests/page_recordings.py docs/recordings.md``."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from recordings import RECORDINGS

COMMAND = "musetools check"


def page(folder: Path) -> str:
    """Return the page: each recording and how it was made, then what is printed."""
    rows = []
    for make in RECORDINGS:
        rows.append(f"| {make(folder).name} | {make.__doc__} |")
    done = subprocess.run(
        [sys.executable, "-m", *COMMAND.split(), folder.name],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return "\n".join(
        [
            "# Recordings",
            "",
            "Real recordings of phones, screens and browsers are not ours to ship. These are the nearest that encoders "
            "and muxers make, with the bundled speech.",
            "",
            "| file | what it is |",
            "|---|---|",
            *rows,
            "",
            f"`{COMMAND} {folder.name}` prints:",
            "",
            "```",
            (done.stdout + done.stderr).rstrip(),
            "```",
            "",
            "Made by `python tests/page_recordings.py docs/recordings.md`; "
            "`tests/check/test_recordings.py` asserts the findings.",
            "",
        ]
    )


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "recordings"
        folder.mkdir()
        text = page(folder)
    given.page.parent.mkdir(exist_ok=True)
    given.page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
