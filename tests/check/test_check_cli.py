"""`musetools check`: a table or JSON on the terminal, worst first, and an exit code that a script can go by."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import pytest
from click.testing import CliRunner, Result
from clips import write_clip, write_late, write_mute
from media import SPEECH_RATE, sound_packets, speech

from musetools.check.folder import audit_folder
from musetools.cli import main


def check(*given: object, **runner: str) -> Result:
    return CliRunner(**runner).invoke(main, ["check", *map(str, given)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One clip of each level, in a folder whose name is no pattern."""
    folder = tmp_path_factory.mktemp("my {clips} [1] 100%d")
    write_clip(folder / "a good one.mp4")
    write_late(folder / "b.mp4", 0.03)
    write_mute(folder / "c {0}.mp4")
    return folder


def test_a_good_clip(folder):
    result = check(folder / "a good one.mp4")
    assert result.exit_code == 0
    head, line, caption, lips = result.output.splitlines()  # nothing else, on stderr either
    assert lips.startswith("Lips were not looked at")
    assert head.split() == ["level", "clip", "sound", "frames", "found"]
    assert line.split()[0] == "ok"
    assert caption == "0 of 1 clips have errors"


def test_a_warning_is_no_error(folder):
    result = check(folder / "b.mp4")
    assert result.exit_code == 0
    assert "warning: Sound starts 30 ms late" in result.stdout


def test_a_folder_worst_first_and_the_mend_of_each(folder):
    result = check(folder)
    assert result.exit_code == 1
    table, *told = result.stdout.split("\n\n")
    assert [line.split()[0] for line in table.splitlines()[1:-2]] == ["error", "warning", "ok"]
    assert table.splitlines()[-2] == "1 of 3 clips have errors"
    assert [one.splitlines()[0].rsplit(" ", 1)[1] for one in told] == ["error", "warning"]
    assert "Mux its sound into it, or leave it out" in told[0]


def test_several_paths(folder):
    result = check("--quick", folder / "b.mp4", folder / "c {0}.mp4")
    assert result.exit_code == 1
    assert "1 of 2 clips have errors" in result.stdout


def test_json(folder):
    result = check(folder, "--json", "--quick")
    assert result.exit_code == 1
    plain = json.loads(result.stdout)
    assert plain == json.loads(audit_folder(folder, quick=True).to_json())
    assert [one["level"] for one in plain["clips"]] == ["error", "warning", "ok"]
    good = check("--json", folder / "a good one.mp4")
    assert good.exit_code == 0
    assert json.loads(good.stdout)["clips"][0]["frames"] == 50


def test_a_quick_check_says_what_it_skipped(folder):
    """Of a folder in which all is well too, in JSON too."""
    good = folder / "a good one.mp4"
    assert "packets alone were read: silence" in check("--quick", good).stdout
    assert "packets alone" not in check(good).stdout
    for more in ([], ["--quick"]):
        assert json.loads(check(good, "--json", *more).stdout)["clips"][0]["quick"] == bool(more)
    assert "packets alone were read" in audit_folder(good, quick=True).audits[0]._repr_html_()


def test_another_recipe(tmp_path):
    path = write_clip(tmp_path / "50.mp4", 50)
    assert check(path, "--quick").exit_code == 0
    result = check(path, "--quick", "--recipe", "musetalk-v1.5-infer")
    assert result.exit_code == 1
    assert re.search(r"musetalk-v1.5-infer stops on \d+ samples at 50 fps", result.stdout)
    plain = json.loads(check(path, "--quick", "--recipe", "latentsync", "--json").stdout)
    assert plain["clips"][0]["recipe"] == "latentsync"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--recipe", "nonesuch"], "Error: no recipe 'nonesuch'; there are musetools, "),
        (["gone {x}"], "Error: no file or folder gone {x}; the working folder is "),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, given, message):
    command = [sys.executable, "-m", "musetools", "check", folder, *given]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_without_media(tmp_path):
    (tmp_path / "a.txt").write_text("no media")
    result = check(tmp_path)
    assert result.exit_code == 2
    assert "no media file" in result.output


def test_without_a_path():
    assert check().exit_code == 2
    text = CliRunner().invoke(main, ["check", "--help"]).stdout
    assert all(option in text for option in ("--recipe", "--quick", "--json"))


def test_a_terminal_that_cannot_write_everything(tmp_path):
    """Names that are not UTF-8, and a terminal without dashes (F22)."""
    os.rename(write_mute(tmp_path / "x.mp4"), os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    write_clip(tmp_path / "\u00fcber \u2013 \u53e3.mp4")
    for charset, options in (("ascii", []), ("latin-1", ["--quick"]), ("utf-8", ["--quick"])):
        result = check(tmp_path, *options, charset=charset)
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == 1
        assert "1 of 2 clips have errors" in result.stdout
        plain = json.loads(check(tmp_path, *options, "--json", charset=charset).stdout)
        names = [os.fsencode(one["clip"]) for one in plain["clips"]]
        assert sorted(names) == sorted(os.fsencode(path) for path in tmp_path.iterdir())


def test_as_a_program(folder):
    command = [sys.executable, "-m", "musetools", "check", folder.name, "--json"]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ""
    first = json.loads(done.stdout)["clips"][0]
    assert first["clip"] == str(Path(folder.name, "c {0}.mp4"))
    assert first["findings"][0]["what"] == "no audio"


def test_a_recording_that_changes_its_channels_on_the_way(tmp_path):
    """Such a file ends the process where nobody looks, so it is read in a process of its own (F11)."""
    with open(tmp_path / "joined.aac", "wb") as joined:
        for channels in (2, 1):
            with av.open(joined, "w", format="adts") as part:
                part.mux(list(sound_packets(part, speech(1, channels=channels), SPEECH_RATE, "aac")))
    write_clip(tmp_path / "good.mp4")
    command = [sys.executable, "-m", "musetools", "check", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    assert "joined.aac changes from stereo" in done.stdout
    assert "1 of 2 clips have errors" in done.stdout
