"""What the command says of itself, of the recipes and of the machine; each command is tested where its work is."""

import json
import re
import sys

import pytest
from click.testing import CliRunner

from musetools import RECIPES
from musetools.cli import machine, main
from musetools.features import fastest, published
from musetools.features.published import PUBLISHED
from musetools.features.spec import SPEC_NAMES
from musetools.table import Table


def output(*given: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, given)
    assert result.exit_code == code, result.output
    return result.output


def test_help_lists_every_name_and_cuts_no_summary_off():
    text = re.sub(r"-\n +", "-", output("--help"))
    words = text.replace(",", " ").split()
    assert {*SPEC_NAMES, *RECIPES, *PUBLISHED} <= set(words)
    assert {*main.commands} <= set(words)
    assert "..." not in text.split("Commands:")[1]
    assert "exit code 1 where a finding is an error." in " ".join(words)


def test_the_example_of_run_keeps_its_lines():
    text = output("run", "--help")
    assert "\\b" not in text
    assert "-p encoder tiny.en \\\n" in text
    assert "\n      --over audio a.mp4 b.mp4 c.mp4 d.mp4 --over fps 25 29.97\n" in text


def test_groups_within_the_command_list_no_names():
    assert "recipes" not in output("contract", "--help")


def test_recipes_as_a_table():
    text = output("recipes")
    assert [line.split()[0] for line in text.splitlines()[1 : 1 + len(RECIPES)]] == list(RECIPES)
    assert "0, drift +33 ms/s" in text
    one = output("recipes", "latentsync")
    assert "0…−20" in one
    assert "bytedance/LatentSync" in one
    assert "musetalkplus" not in one
    assert "no recipe 'nonesuch'" in output("recipes", "nonesuch", code=2)  # wrong usage


def test_doctor_names_what_is_here(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = " ".join(output("doctor").split())
    assert f"Python {sys.version.split()[0]}" in text
    assert "torch" in text
    assert "not measured yet" in text


def test_doctor_shows_what_auto_chose(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measured = {"float32": 0.057, "bfloat16": 0.031}
    place = tmp_path / "musetools" / "fastest.json"
    place.parent.mkdir()
    kept = {f"{fastest._here()}2 threads | width 384": measured, "another processor | x": measured}
    place.write_text(json.dumps(kept))
    expected = "2 threads | width 384: bfloat16 by auto: a block takes float32 57 ms, bfloat16 31 ms"
    text = " ".join(output("doctor").split())
    assert expected in text
    assert "another" not in text


def test_doctor_says_how_to_get_what_is_missing(monkeypatch):
    here = machine._version
    monkeypatch.setattr(machine, "_version", lambda name: None if name in ("torch", "papermill") else here(name))
    text = " ".join(output("doctor", code=1).split())
    assert "missing: torch. To get it: pip install musetools" in text
    assert "missing: papermill. To get it: pip install 'musetools[lab]'" in text


def test_doctor_is_stopped_by_nothing_that_is_missing(monkeypatch):
    published._addresses.cache_clear()
    for name in ("whisper", "av", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    text = " ".join(output("doctor").split())
    assert "weights missing: not known: " in text
    assert "face model" in text


@pytest.mark.parametrize("name", ["口パク.mp4", "e\u0301.mp4", "plain.mp4"])
def test_columns_of_a_table_line_up(name):
    """A terminal shows a Chinese character in two columns, a combining mark in none."""
    shown = {"口パク.mp4": 10, "e\u0301.mp4": 5, "plain.mp4": 9}
    lines = repr(Table(["clip", "level"], [[name, "ok"], ["x" * 12, "ok"]])).splitlines()
    assert lines[1] == f"{name}{' ' * (14 - shown[name])}ok"


FORGED = "bad.wav\r\x1b[2K\x1b[1Aok     clean.wav"  # returns, clears the line, and writes another over it


@pytest.mark.parametrize("name", [FORGED, "\u202egpj.wav", "bell\x07.wav", "two\nlines.wav"], ids=ascii)
def test_the_name_of_a_file_forges_nothing(name, tmp_path):
    (tmp_path / name).write_bytes(b"no sound")
    result = CliRunner().invoke(main, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert not set(result.output) & set("\r\x1b\x07\u202e")
    assert result.output.splitlines()[1].startswith("error ")
    assert ascii(name)[1:-1] in result.output.splitlines()[1].encode("ascii", "backslashreplace").decode()
    gone = CliRunner().invoke(main, ["check", str(tmp_path / "no" / name.replace("\n", ""))])
    assert not set(gone.output) & set("\r\x1b\x07\u202e")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--quick", "--lips"], "--quick decodes nothing"),
        (["--lips", "--reach", "5"], "'--reach': 5.0 is not in the range"),
        (["--reach", "1"], "Give --lips, too"),
        (["--lips", "--face", "3", "0.5"], "'--face': 3.0 is not in the range"),
    ],
)
def test_a_check_that_cannot_be_made_is_refused_before_a_file_is_read(given, words, tmp_path):
    assert words in output("check", str(tmp_path / "none.mp4"), *given, code=2)
