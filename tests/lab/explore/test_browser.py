"""Notebooks in a real JupyterLab in a real browser: all cells run, the slider redraws, nothing is red."""

import contextlib
import hashlib
import json
import os
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
QUIET = [
    "--no-sandbox",  # Chromium refuses to run as root, as in CI, with one
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
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


@pytest.fixture
def page(browser) -> Iterator[Any]:
    """Open a window; at the end, nothing must have been an error in its console."""
    page = browser.new_page(viewport={"width": 1400, "height": 1500})
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


def run_all(page: Any, lab: Lab, name: str) -> None:
    """Open a notebook, choose Run, Run All Cells, and wait until every code cell has run."""
    page.goto(f"{lab.url}/lab/tree/notebooks/{name}?token={TOKEN}&reset")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.wait_for_function(IDLE)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(FINISHED)
    assert red(page) == []


def red(page: Any) -> list[str]:
    """Give what went wrong in any cell, on screen or not."""
    return page.evaluate("""() => {
        const outputs = [...window.jupyterapp.shell.currentWidget.content.model.cells]
            .filter(cell => cell.type === 'code').flatMap(cell => cell.outputs.toJSON());
        return outputs.filter(o => o.output_type === 'error' || o.name === 'stderr').map(o => JSON.stringify(o));
    }""")


def drawn(image: Any) -> str:
    """Give a hash of the image that an img element holds."""
    return hashlib.sha256(
        bytes(image.evaluate("async e => [...new Uint8Array(await (await fetch(e.src)).arrayBuffer())]"))
    ).hexdigest()


def test_explore(lab, page, capsys):
    """The slider redraws, play moves it, a message answers a recipe that stops and a file that is no media."""
    run_all(page, lab, "explore.ipynb")
    image = page.locator("img.widget-image")
    image.scroll_into_view_if_needed()
    page.wait_for_function("e => e.complete && e.naturalWidth === 1000", arg=image.element_handle())
    shoot(page, "explore")
    before = drawn(image)
    took = [step(page, "ArrowRight") for _ in range(10)]
    page.get_by_text("Frame 105 lasts from 4.200 s").wait_for()
    assert drawn(image) != before
    shoot(page, "explore_moved")
    play(page, beyond=110)
    type_fps(page, "50")
    page.get_by_text("musetalk-v1.5-infer stops on").first.wait_for()
    shoot(page, "explore_stops")
    upload(page, "notes.txt", b"no media at all")
    page.get_by_text("notes.txt cannot be decoded").wait_for()
    upload(page, "mine.mp4", (ROOT / "data" / "talker_2997.mp4").read_bytes())
    page.get_by_text("The clip, mine.mp4: 12.05 s").wait_for()
    shoot(page, "explore_upload")
    assert red(page) == []
    with capsys.disabled():
        print(f"\n[a move of the slider, in the browser: median {sorted(took)[5]:.0f} ms, most {max(took):.0f} ms]")


def shoot(page: Any, name: str) -> None:
    page.wait_for_function(IDLE)
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"browser_{name}.png")


def step(page: Any, key: str) -> float:
    """Press a key on the slider; return the milliseconds until another image is there."""
    page.locator(".noUi-handle").focus()
    page.evaluate("""() => {
        const img = document.querySelector('img.widget-image');
        const once = {once: true, capture: true};
        window.took = null;
        document.addEventListener('keydown', () => { window.pressed = performance.now(); }, once);
        img.addEventListener('load', () => { window.took = performance.now() - window.pressed; }, once);
    }""")
    page.keyboard.press(key)
    return page.wait_for_function("() => window.took").json_value()


def play(page: Any, beyond: int) -> None:
    """Press play, wait until the slider is beyond a frame, press pause."""
    button = page.locator(".widget-play button").first
    button.click()
    page.wait_for_function("n => Number(document.querySelector('.noUi-handle').ariaValueNow) > n", arg=beyond)
    button.click()


def type_fps(page: Any, fps: str) -> None:
    field = page.locator(".widget-text input[type=number]").first
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
