"""Notebooks in a real JupyterLab in a real browser: all cells run, the explorer plays and moves, nothing is red."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from books import notebook

ROOT = Path(__file__).resolve().parents[3]
SHOTS = ROOT / "runs"
TOKEN = "only-on-loopback"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WAIT_S = 60  # for any one thing on a slow machine; none of them should take a tenth of it
POLL_MS = 200  # between two looks at a page: at each of its frames, as is usual, Chromium would draw without a pause
QUIET = [
    "--no-sandbox",  # Chromium refuses to run as root, as in CI, with one
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
]
SETTINGS = (
    ("apputils-extension", "notification", {"fetchNews": "false"}),  # it would ask, in a pop-up
    ("notebook-extension", "tracker", {"windowingMode": "none"}),  # cells out of sight stay: scrolling moves nothing
)
IDLE = "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
FINISHED = """() => {
    const app = window.jupyterapp, panel = app.shell.currentWidget;
    const cells = [...panel.content.model.cells].filter(cell => cell.type === 'code');
    return cells.length > 0 && cells.every(cell => cell.executionCount !== null)
        && panel.sessionContext.session.kernel.status === 'idle';
}"""

SHOWN = (  # what every notebook shows: a figure, a table, sentences, a record
    "from musetools.lab.look import figure\nwith figure() as (fig, axes):\n    axes[0, 0].set_title('a figure')\nfig",
    "from musetools.table import Table\nTable(['head'], [['<cell>']], 'a caption')",
    "from musetools.lab.record import record\nrecord(x=[1, 2], who='<é>')",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: apt-get install chromium")


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab."""

    url: str
    log: Path


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    """Start JupyterLab on a copy of the notebooks, so that nothing it saves touches ours; end it and its kernels."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "root" / "notebooks", ignore=shutil.ignore_patterns(".*"))
    (folder / "root" / "data").symlink_to(ROOT / "data")
    notebook(folder / "root" / "notebooks" / "shown.ipynb", *SHOWN, parameters="x = 1")
    for extension, setting, value in SETTINGS:
        file = folder / "settings" / "@jupyterlab" / extension / f"{setting}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(value))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", folder / "lab.log"
    with open(log, "wb") as file:
        server = subprocess.Popen(_command(folder / "root", port), env=_environment(folder), stdout=file, stderr=file)
    try:
        _wait_until(lambda: _answers(f"{url}/api/status?token={TOKEN}"), server, log)
        yield Lab(url, log)
    finally:
        _end(server)


def _command(root: Path, port: int) -> list[str]:
    settings = {
        "ServerApp.token": TOKEN,
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": root,
        "ServerApp.allow_root": True,
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.expose_app_in_browser": True,
        "LabApp.extension_manager": "readonly",
    }
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        *(f"--{name}={value}" for name, value in settings.items()),
    ]


def _environment(folder: Path) -> dict[str, str]:
    """Give it settings of its own: none of the user's, and kernels of this Python alone."""
    own = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return os.environ | {name: str(folder / where) for name, where in own.items()} | threads


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return json.load(reply)["kernels"] == 0
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _wait_until(done: Any, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + WAIT_S
    while not done():
        if server.poll() is not None or time.monotonic() > end:
            pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.1)


def _end(server: subprocess.Popen) -> None:
    """End the server and its kernels, which are its children."""
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    server.terminate()
    _, alive = psutil.wait_procs(family, timeout=10)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.wait(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def window(browser: Any, height: int) -> Iterator[Any]:
    """Open a window; at the end, nothing must have been an error in its console."""
    page = browser.new_page(viewport={"width": 1400, "height": height})
    page.set_default_timeout(1000 * WAIT_S)
    errors: list[str] = []
    page.on(
        "console",
        lambda message: errors.append(f"{message.text} {message.location}") if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


@pytest.fixture
def page(browser) -> Iterator[Any]:
    with window(browser, 1500) as page:
        yield page


def run_all(page: Any, lab: Lab, name: str) -> None:
    """Open a notebook, choose Run, Run All Cells, and wait until every code cell has run."""
    page.goto(f"{lab.url}/lab/tree/notebooks/{name}?token={TOKEN}&reset")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.wait_for_function(IDLE, polling=POLL_MS)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(FINISHED, polling=POLL_MS)
    assert red(page) == []


def red(page: Any) -> list[str]:
    """Give what went wrong in any cell, on screen or not."""
    return page.evaluate("""() => {
        const outputs = [...window.jupyterapp.shell.currentWidget.content.model.cells]
            .filter(cell => cell.type === 'code').flatMap(cell => cell.outputs.toJSON());
        return outputs.filter(o => o.output_type === 'error' || o.name === 'stderr').map(o => JSON.stringify(o));
    }""")


def shoot(page: Any, name: str) -> None:
    page.wait_for_function(IDLE, polling=POLL_MS)
    page.wait_for_timeout(500)  # what was drawn last is on its way
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"browser_{name}.png")


FIGURE, STAGE, FPS = "img.musetools-figure", ".musetools-stage", ".widget-text input[type=number]"
CURSOR = """() => {  // times in s: what sounds, where the cursor stands, the start of the frame that is drawn
    const video = document.querySelector('.musetools-video');
    const cursor = Number(document.querySelector('.musetools-stage').dataset.cursorS);
    const left = parseFloat(document.querySelector('.musetools-cursor-whole').style.left);
    return {sound: video.currentTime, cursor, left, at: performance.now(), paused: video.paused};
}"""


@pytest.fixture
def opened(lab, browser):
    """The explorer on a screen of 1400 x 900, all cells run."""
    with window(browser, 900) as page:
        run_all(page, lab, "explore.ipynb")
        page.wait_for_function(f"() => document.querySelector('{FIGURE}')?.naturalWidth === 1000", polling=POLL_MS)
        yield page
        assert red(page) == []


def test_explore(opened, capsys):
    """As one meets it: on one screen; keys, a clip of another rate, a recipe that stops, a click, uploads."""
    page = opened
    shoot(page, "explore")
    for part in (FIGURE, ".musetools-play", ".noUi-handle"):
        box = page.locator(part).bounding_box()
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= 900, part
    took = [step(page, "ArrowRight") for _ in range(10)]
    page.get_by_text("Frame 105 lasts from 4.200 s").wait_for()
    choose(page, "talker_2997.mp4")
    page.wait_for_function(f"() => document.querySelector('{FPS}').value === '29.97'", polling=POLL_MS)
    type_fps(page, "25")
    page.get_by_text("The clip is 29.97 fps, cut as 25.").first.wait_for()
    type_fps(page, "50")
    page.get_by_text("musetalk-v1.5-infer stops on").first.wait_for()
    shoot(page, "explore_stops")
    type_fps(page, "29.97")
    page.get_by_text("musetalk-v1.5-infer takes rows").first.wait_for()
    click_at(page, 0.074 + 0.912 * 6 / 12.08, 0.13)  # half-way through the whole clip
    page.get_by_text(re.compile(r"Frame 1(79|80) lasts from")).wait_for()
    at = int(page.locator(".noUi-handle").get_attribute("aria-valuenow").split(".")[0])
    page.keyboard.press("ArrowRight")
    page.get_by_text(f"Frame {at + 1} lasts from").wait_for()
    page.get_by_role("button", name="next difference").click()
    page.get_by_text("Frame 1 lasts from").wait_for()
    page.get_by_role("button", name="worst frame").click()
    shoot(page, "explore_worst")
    upload(page, "notes.txt", b"no media at all")
    page.get_by_text("notes.txt cannot be decoded").wait_for()
    upload(page, "mine.mp4", (ROOT / "data" / "talker_25.mp4").read_bytes())
    page.wait_for_function(f"() => document.querySelector('{FPS}').value === '25'", polling=POLL_MS)
    page.locator("option", has_text="mine.mp4 (uploaded)").wait_for(state="attached")
    shoot(page, "explore_upload")
    with capsys.disabled():
        print(f"\n[a step in the browser, key to figure: median {sorted(took)[5]:.0f} ms, most {max(took):.0f} ms]")


def test_sound_cursor_and_figure_play_together(opened, capsys):
    """For three seconds: the cursor is where the sound is, the figures follow."""
    page = opened
    page.locator(".musetools-play").click()
    page.wait_for_function("() => document.querySelector('.musetools-video').currentTime > 4", polling=POLL_MS)
    seen, frames = [], set()
    while not seen or seen[-1]["at"] < seen[0]["at"] + 3000:
        seen.append(page.evaluate(CURSOR))
        frames.add(page.locator(".noUi-handle").get_attribute("aria-valuenow"))
        if len(seen) == 10:
            page.screenshot(path=SHOTS / "browser_explore_plays.png")
    page.locator(".musetools-play").click()
    assert not any(one["paused"] for one in seen)
    gaps = [1000 * abs(one["sound"] - one["cursor"]) for one in seen]
    drift = 1000 * (seen[-1]["sound"] - seen[0]["sound"]) - (seen[-1]["at"] - seen[0]["at"])
    drawn_s = [12.0519 * (one["left"] - 7.4) / 91.2 for one in seen]
    assert sorted(gaps)[len(gaps) // 2] < 40  # the most is printed: a busy machine may be late with a single frame
    assert max(abs(at - one["cursor"]) for at, one in zip(drawn_s, seen, strict=True)) < 0.04
    assert len(frames) >= 5
    page.wait_for_function(
        "() => document.querySelector('.musetools-play').textContent === 'play clip'", polling=POLL_MS
    )
    with capsys.disabled():
        text = f"median {sorted(gaps)[len(gaps) // 2]:.0f} ms, most {max(gaps):.0f} ms"
        print(f"\n[cursor against sound: {text}; sound against clock {drift:+.0f} ms; {len(frames)} figures in 3 s]")


def step(page: Any, key: str) -> float:
    """Press a key on the stage; return the milliseconds until another figure is there."""
    page.locator(STAGE).focus()
    page.evaluate(f"""() => {{
        const once = {{once: true, capture: true}};
        window.took = null;
        document.addEventListener('keydown', () => {{ window.pressed = performance.now(); }}, once);
        document.querySelector('{FIGURE}').addEventListener(
            'load', () => {{ window.took = performance.now() - window.pressed; }}, once);
    }}""")
    page.keyboard.press(key)
    return page.wait_for_function("() => window.took", polling=POLL_MS).json_value()


def choose(page: Any, clip: str) -> None:
    page.locator(".widget-dropdown select").first.select_option(label=clip)


def click_at(page: Any, x: float, y: float) -> None:
    """Click in the figure, at shares of its width and height."""
    box = page.locator(FIGURE).bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def type_fps(page: Any, fps: str) -> None:
    field = page.locator(FPS).first
    field.fill(fps)
    field.press("Enter")


def upload(page: Any, name: str, content: bytes) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="upload a clip").click()
    chooser.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})


def test_figures_tables_and_records(lab, page):
    run_all(page, lab, "shown.ipynb")
    figure = page.locator(".jp-OutputArea-output img").first
    figure.wait_for()
    assert figure.evaluate("e => e.naturalWidth") > 500
    assert page.locator(".jp-OutputArea-output td").first.inner_text() == "<cell>"
    page.locator("details summary").last.click()  # recorded results are folded away
    page.get_by_text('who: "<é>"').wait_for()
    shoot(page, "shown")
