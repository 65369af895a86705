"""The README in its two languages says the same, and its code runs; so does the code of the short guides."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from checkpoints import save_hugging_face

import musetools
from musetools.cli import main
from musetools.features.weights import untrained_weights

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
GUIDES = ("move", "npy", "stream", "training")
WAIT_S = 120  # for JupyterLab, on a busy machine
IN_CI = ("musetools regress", "pytest", "sphinx-build")  # words of shell blocks that .ci/run takes out of the README


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


@pytest.fixture
def machine(place):
    """What the shell blocks of the README find, and how they are started: nothing of them is changed."""
    (place / ".venv").symlink_to(sys.prefix)
    shutil.copy(ROOT / "data" / "talker_2997.mp4", place / "MY_CLIP.mp4")
    shutil.copytree(ROOT / "notebooks", place / "notebooks")
    (place / "clips").mkdir()
    shutil.copy(ROOT / "data" / "speech.flac", place / "clips")
    save_hugging_face(place / "MuseTalk" / "models" / "whisper", untrained_weights("tiny"))
    server = {"allow_root": True, "ip": "127.0.0.1", "port": 0, "token": ""}
    server["browser"] = "sh -c 'cat ${0#file://}' %s"  # it is sent to a page that leads to the notebook
    (place / "settings").mkdir()
    (place / "settings" / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": server}))
    settings = {f"JUPYTER_{which}_DIR": str(place / "settings") for which in ("CONFIG", "DATA", "RUNTIME")}
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])} | settings

    def start(block: str) -> subprocess.Popen:
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
        return subprocess.Popen(["sh", "-c", block], cwd=place, env=env, **how)

    return start


CHECKED, MENDED = "musetalk-v1.5-infer data/talker_2997.mp4", "musetools fix"


@pytest.mark.parametrize("words", [CHECKED, "MY_CLIP.mp4"])
def test_clips_are_checked(words, machine):
    done = machine(block_with(words))
    output, _ = done.communicate()
    assert done.returncode == 1, output  # the clip has errors
    if words == CHECKED:
        shown = blocks(text_of("README.md"), "text")[0].removeprefix("…\n").removesuffix("…\n")
        assert shown in output


def test_a_clip_is_mended_outside_of_data(machine, place):
    """Case 02-folder of the suite reads all of `data`."""
    before = sorted((ROOT / "data").iterdir())
    done = machine(block_with(MENDED))
    output, _ = done.communicate()
    assert done.returncode == 0, output
    assert (place / "runs" / "talker_2997_fixed.mp4").is_file()
    assert sorted((ROOT / "data").iterdir()) == before


def test_features_are_extracted_with_musetalks_own_weights(machine, place):
    done = machine(block_with("musetools extract"))
    output, _ = done.communicate()
    assert done.returncode == 0, output
    store = musetools.FeatureStore.open(place / "features")
    expected = musetools.audio2feat(ROOT / "data" / "speech.flac", "untrained-tiny")
    np.testing.assert_array_equal(store["speech.flac"], expected)


def test_the_explorer_is_opened(machine):
    """The server sends the browser to the notebook, and serves it."""
    pytest.importorskip("jupyterlab")
    lab = machine(block_with("jupyter lab"))
    end = threading.Timer(WAIT_S, os.killpg, (lab.pid, signal.SIGKILL))
    end.start()
    try:
        address = next(found[1] for line in lab.stdout if (found := re.search(r'href="(.+?/lab/tree/.+?)"', line)))
        content = address.replace("/lab/tree/", "/api/contents/")
        assert answer_of(content, lab)["name"] == "explore.ipynb"
    finally:
        end.cancel()
        os.killpg(lab.pid, signal.SIGKILL)
        lab.communicate()


def answer_of(address: str, server: subprocess.Popen) -> dict:
    """Ask until it answers: a busy machine names the page before it serves it."""
    while True:
        try:
            with urllib.request.urlopen(address, timeout=60) as reply:
                return json.load(reply)
        except urllib.error.URLError:
            assert server.poll() is None
            time.sleep(0.2)


def block_with(words: str) -> str:
    return next(block for block in shell_blocks() if words in block)


def test_every_shell_block_is_run():
    """Those above, and those that CI takes out of the README."""
    here = (CHECKED, MENDED, "MY_CLIP.mp4", "musetools extract", "jupyter lab")
    assert all(sum(words in block for words in (*here, *IN_CI)) == 1 for block in shell_blocks())
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert all(f"eval \"$(readme '{words}')\"" in ci for words in IN_CI)


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
