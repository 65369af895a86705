"""The README in its two languages says the same, and its code runs; so does the code of the short guides."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import musetools
from musetools.cli import main

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
GUIDES = ("move", "npy", "stream", "training")
NOT_RUN = {  # shell blocks of the README, by a part of them: why they are not run here
    "musetools regress": "the suite takes minutes: test_notebooks.py and .ci/run run it",
    "pytest -n 2": "these very tests: .ci/run runs the command",
    "jupyter lab": "it serves until it is ended: tests/lab/explore/test_browser.py opens the notebook",
    "musetools extract": "MuseTalk's weights are not ours: test_the_commands_are_there reads its options",
    "sphinx-build": "it needs an executed suite: .ci/run builds the pages",
}


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(text: str, language: str = r"\w*") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


# --- two languages


def outline(text: str) -> dict[str, list]:
    """Return what both languages share."""
    bare = prose(text)
    return {
        "code blocks": re.findall(r"^```\w*\n.*?^```$", text, re.MULTILINE | re.DOTALL),
        "headings": [len(marks) for marks in re.findall(r"^(#+) ", bare, re.MULTILINE)],
        "links": [link for link in re.findall(r"\]\((.+?)\)", bare) if link not in READMES],
        "code in the text": sorted(set(re.findall(r"`([^`\n]+)`", bare))),
        "table rows": re.findall(r"^\| (`.+?`)", bare, re.MULTILINE),
        "items": [line[:2] for line in bare.splitlines() if line.startswith("- ")],
    }


@pytest.mark.parametrize("part", outline(""))
def test_both_languages_have_the_same(part):
    english, chinese = (outline(text_of(name))[part] for name in READMES)
    assert chinese == english
    assert english


def test_both_languages_state_the_same_numbers():
    """Numbers of two digits or more; "4:40 minutes" is "4 分 40 秒"."""
    english, chinese = (sorted(set(re.findall(r"\d[\d.]*\d", prose(text_of(name))))) for name in READMES)
    assert chinese == english


def test_the_check_sees_what_is_missing():
    text = text_of("README.md")
    changed = text.replace("fps=29.97)", "fps=25)").replace("## Weights", "### Weights").replace("docs/stream.md", "x")
    differing = {part for part, value in outline(text).items() if outline(changed)[part] != value}
    assert differing == {"code blocks", "headings", "links"}


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)#]+)\)", prose(text_of(name))):
        assert (ROOT / link).is_file(), link


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.png")), ids=lambda path: path.name)
def test_images_are_small(path):
    assert path.stat().st_size < 150_000


# --- code


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the sample media where code blocks look for them, and where they may write."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str, place: Path) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, *shlex.split(code)], cwd=place, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{guide}.md" for guide in GUIDES)])
def test_python_blocks_run(name, place):
    """One after the other in one folder, each complete in itself; the Chinese README has those of the English one."""
    found = blocks(text_of(name), "python")
    assert found
    if name == "README.md":
        pytest.importorskip("matplotlib", reason="mt.compare needs the extra lab")
    for block in found:
        exec(compile(block, name, "exec"), {"__name__": name})


def test_the_numbers_in_the_comments_hold(place):
    features = musetools.audio2feat("data/speech.flac", "untrained-tiny")
    chunks = musetools.feature2chunks(features, fps=29.97)
    assert (features.shape, len(chunks), chunks[5].shape) == ((602, 5, 384), 360, (50, 384))


def shell_blocks() -> list[str]:
    return blocks(text_of("README.md"), "sh")


@pytest.mark.parametrize("block", shell_blocks())
def test_shell_blocks_run(block, place):
    """`musetools check` is run; of the rest the syntax is read, and why it is not run stands in NOT_RUN."""
    parsed = subprocess.run(["sh", "-n", "-c", block], capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    reason = next((why for part, why in NOT_RUN.items() if part in block), None)
    if reason is not None:
        return
    shutil.copy(ROOT / "data" / "talker_2997.mp4", place / "MY_CLIP.mp4")
    done = run(f"-m {block.strip().removeprefix('.venv/bin/')}", place)
    assert done.returncode == 1, done.stderr  # the clip has errors
    promised = blocks(text_of("README.md"), "text")[0].splitlines()
    for line in promised if "data/" in block else ():
        assert line in done.stdout


def test_every_reason_belongs_to_a_block():
    assert all(any(part in block for block in shell_blocks()) for part in NOT_RUN)


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{guide}.md" for guide in GUIDES)])
def test_the_commands_are_there(name):
    """Every command and every option that a page names exists."""
    text = text_of(name)
    lines = re.findall(r"(?:`|^|/bin/)musetools ([a-z]+)([^`\n]*)", text, re.MULTILINE)
    assert lines
    for command, rest in lines:
        assert command in main.commands, command
        options = {option for parameter in main.commands[command].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z0-9-]+", rest)) <= options, (command, rest)


def test_every_command_is_in_the_readme():
    assert set(re.findall(r"^\| `musetools ([a-z]+)", text_of("README.md"), re.MULTILINE)) == set(main.commands)
