"""A corpus that is interrupted: killed, a full disk, closed folders, two at once, shards, changed tables."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from media import speech, write_media
from stores import CONTEXT, QUICK, contents, extract_all, extract_counts, in_child

import musetools.files
from musetools import AudioError, FeatureStore, ParameterError, extract
from musetools.cli import main
from musetools.train.report import ExtractReport

N_FILES, N_KILLS = 200, 5
SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".mp4", ".mkv")


def is_bad(number: int) -> bool:
    return number % 17 == 5


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """200 files of mixed length and format, some of them bad."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(N_FILES):
        path = folder / f"{number:03d}{SUFFIXES[number % len(SUFFIXES)]}"
        if is_bad(number):
            path.write_bytes(np.random.default_rng(number).bytes(number % 3 * 5000))
        else:
            write_media(path, speech(0.2 + number % 7 / 5), (16_000, 44_100)[number % 2])
    return folder


def sorted_contents(root: Path) -> dict[str, object]:
    """Everything in a store that must not depend on the order in which clips came."""
    found = contents(root)
    return found | {"manifest.jsonl": sorted(found["manifest.jsonl"].splitlines())}


def n_lines(root: Path) -> int:
    return len((root / "manifest.jsonl").read_bytes().splitlines())


# --- killed


def test_killed_five_times_and_resumed(tmp_path, corpus, checkpoint, small):
    whole, killed = (FeatureStore.create(tmp_path / name, QUICK, small).root for name in ("whole", "killed"))
    extract_all(corpus, whole, checkpoint)
    dice, at = random.Random(0), []
    for number in range(N_KILLS):
        process = CONTEXT.Process(target=extract_all, args=(corpus, killed, checkpoint))
        process.start()
        until = min(N_FILES - 30, n_lines(killed) + dice.randrange(5, 35))
        while process.is_alive() and n_lines(killed) < until:
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.03))
        children = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        at.append(n_lines(killed))
        assert psutil.wait_procs(children, timeout=20)[1] == []  # the decoders end with it
        assert n_lines(killed) < N_FILES - sum(map(is_bad, range(N_FILES))), number
    assert at == sorted(at)
    extract_all(corpus, killed, checkpoint)
    assert sorted_contents(killed) == sorted_contents(whole)
    assert n_lines(whole) == N_FILES - sum(map(is_bad, range(N_FILES)))
    store = FeatureStore.open(killed)
    assert (store.verify().ok, store.verify().orphans) == (True, ())
    assert not list(killed.glob(".*.part"))
    failed = [json.loads((root / "report.json").read_bytes())["failed"] for root in (killed, whole)]
    assert failed[0] == failed[1]
    assert len(failed[0]) == sum(map(is_bad, range(N_FILES)))


def test_the_manifest_holds_no_time_and_no_host(tmp_path, corpus, small):
    """Made later, of the same files, it is the same to the byte."""
    roots = [FeatureStore.create(tmp_path / name, QUICK, small).root for name in ("one", "two")]
    for root in roots:
        extract([corpus / "000.wav", corpus / "004.mp4"], FeatureStore.open(root), small, progress=False)
    assert contents(roots[0]) == contents(roots[1])


# --- two at once, and shards


def extract_together(meeting: Path, number: int, *given: Path) -> tuple[int, int, dict[str, str]]:
    """Extract as `extract_counts` does, beginning when another process does."""
    (meeting / str(number)).touch()
    while len(list(meeting.iterdir())) < 2:
        time.sleep(0.001)
    return extract_counts(*given)


def test_two_at_once_share_the_work(tmp_path, corpus, checkpoint, small):
    """The second goes from the end, so that they meet; what one has made is there for the other."""
    root = FeatureStore.create(tmp_path / "store", QUICK, small).root
    (tmp_path / "meeting").mkdir()
    with ProcessPoolExecutor(2, CONTEXT) as pool:
        runs = [pool.submit(extract_together, tmp_path / "meeting", k, corpus, root, checkpoint) for k in range(2)]
        (one, one_there, one_failed), (two, two_there, two_failed) = (run.result() for run in runs)
    n_good = N_FILES - sum(map(is_bad, range(N_FILES)))
    assert one + two == one + one_there == two + two_there == n_good == n_lines(root)
    assert one_failed == two_failed == json.loads((root / "report.json").read_bytes())["failed"]
    store = FeatureStore.open(root)
    assert (store.verify().ok, store.verify().orphans) == (True, ())
    assert min(one, two) > 10
    alone = FeatureStore.create(tmp_path / "alone", QUICK, small)
    extract([corpus], alone, small, progress=False)
    assert sorted_contents(root) == sorted_contents(alone.root)


def test_shards_together_are_the_whole(empty, corpus, small):
    reports = [extract([corpus], empty, small, shard=f"{k}/3", progress=False) for k in (1, 2, 3)]
    assert sum(report.found for report in reports) == N_FILES
    assert all(report.found + report.elsewhere == N_FILES for report in reports)
    assert not any(report.skipped for report in reports)
    assert sum(len(report.added) for report in reports) == n_lines(empty.root)
    kept = [json.loads((empty.root / f"report-{k}-of-3.json").read_bytes()) for k in (1, 2, 3)]
    assert [report["added"] for report in kept] == [report.added for report in reports]
    assert f"; {reports[0].elsewhere} in other shards" in repr(reports[0])
    with pytest.raises(ParameterError, match="a shard is i/n"):
        extract([corpus], empty, small, shard="4/3", progress=False)


# --- the disk and its folders


def adds_up(report: ExtractReport) -> bool:
    counted = (report.added, report.remade, report.skipped, report.failed, report.left)
    return report.found == sum(map(len, counted))


def test_a_disk_that_is_full_midway(tmp_path, corpus, small, monkeypatch):
    """The clips that are there stay, the rest is left, and a rerun goes on."""
    store, real, written = FeatureStore.create(tmp_path / "store", QUICK, small), os.fsync, []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="The report is complete, but it is not kept"):
        report = extract([corpus], store, small, progress=False)
    assert (report.ok, report.exit_code, adds_up(report)) == (False, 1, True)
    assert len(report.added) == 20  # two steps each
    assert len(report.left) > 150
    assert "No space left on device" in report.stopped
    assert "MiB are free in" in report.stopped
    assert f"{len(report.left)} still to do, run again to go on: cannot write" in repr(report)
    assert (store.verify().ok, store.verify().orphans) == (True, ())
    monkeypatch.setattr(os, "fsync", real)
    again = extract([corpus], store, small, progress=False)
    assert (len(again.skipped), again.left, adds_up(again)) == (20, [], True)
    assert len(again.added) == n_lines(store.root) - 20


def test_a_file_system_that_is_full(tmp_path, corpus, small):
    """A real one, of 3 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        store = FeatureStore.create(disk / "store", QUICK, small)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # there may be no room for the report
            report = extract([corpus], store, small, progress=False)
        assert (report.ok, adds_up(report)) == (False, True)
        assert report.added
        assert report.left
        assert "No space left on device" in report.stopped
        found = FeatureStore.open(store.root).verify()
        assert (found.ok, found.orphans, found.checked) == (True, (), len(report.added))
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        assert extract([corpus], store, small, progress=False).left == []
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("whole", [True, False])
def test_a_folder_that_cannot_be_searched(tmp_path, empty, small, monkeypatch, whole):
    """It is a failure, and the rest goes on; refused by hand, since root may search everywhere."""
    closed = tmp_path / "in" / "closed"
    closed.mkdir(parents=True)
    if not whole:
        write_media(tmp_path / "in" / "open.wav", speech(0.5), 16_000)
    real = os.scandir

    def scandir(path):
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(musetools.files.os, "scandir", scandir)
    if whole:
        with pytest.raises(ParameterError, match=r"no media file .* cannot be searched: Permission denied"):
            extract([closed], empty, small, progress=False)
        return
    report = extract([tmp_path / "in"], empty, small, progress=False)
    assert (report.added, list(report.failed), adds_up(report)) == (["open.wav"], [str(closed)], True)
    assert report.failed[str(closed)] == f"the folder {closed} cannot be searched: Permission denied"


# --- strictness, and what is said


@pytest.mark.parametrize("again", [False, True])
def test_on_error_raise_ends_at_the_first_bad_file(empty, corpus, small, again):
    bad = next(path for path in sorted(corpus.iterdir()) if is_bad(int(path.stem)))
    if again:
        extract([corpus], empty, small, progress=False)
    with pytest.raises(AudioError, match=bad.name):
        extract([corpus], empty, small, on_error="raise", progress=False)
    assert len(empty) == (n_lines(empty.root) if again else 5)
    assert empty.verify().orphans == ()
    with pytest.raises(ParameterError, match="on_error must be one of record, raise"):
        extract([corpus], empty, small, on_error="ignore", progress=False)
    with pytest.raises(ParameterError, match="engine must be one of local, ray"):
        extract([corpus], empty, small, engine="spark", progress=False)
    with pytest.raises(ParameterError, match="workers must be 1 or more; got -1"):
        extract([corpus], empty, small, workers=-1, progress=False)


def test_the_report_as_text_html_and_json(empty, corpus, small):
    sources = {"a": corpus / "000.wav", "b": corpus / "005.mkv", "c": corpus / "005.mkv", "<i>": corpus / "001.flac"}
    report = extract(sources, empty, small, progress=False)
    assert (len(report.added), len(report.failed), adds_up(report)) == (1, 3, True)  # two clips of one bad file
    said = json.loads((empty.root / "report.json").read_bytes())
    assert (said["found"], said["added"], said["failed"], said["ok"]) == (4, ["a"], report.failed, False)
    assert said["hours"] == pytest.approx(empty.record("a").duration_s / 3600)
    assert said["speed"] > 0
    page = (empty.root / "report.html").read_text(encoding="utf-8")
    assert "1 added, 0 there already, 3 failed" in page
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
    assert repr(report).splitlines()[-1].endswith("times real time")


def test_a_table_says_what_the_file_does_not(empty, corpus, small):
    table = corpus.parent / "list.csv"
    table.write_text(f"clip,path,fps,frames\none,{corpus}/000.wav,29.97,16\n")
    assert extract(table, empty, small, progress=False).added == ["one"]
    assert (empty.record("one").fps, empty.record("one").frames) == ("30000/1001", 16)
    assert extract(table, empty, small, progress=False).skipped == ["one"]
    table.write_text(f"clip,path,fps,frames\none,{corpus}/000.wav,25,13\n")  # it was wrong
    assert extract(table, empty, small, progress=False).remade == ["one"]
    assert (empty.record("one").fps, empty.record("one").frames) == ("25", 13)
    assert len(FeatureStore.open(empty.root)) == 1


def test_the_bar_says_how_far_it_is(empty, corpus, small, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    extract([corpus / "000.wav", corpus / "001.flac"], empty, small)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "2/2" in last
    assert "h of audio" in last
    assert "x real time" in last


def test_the_command_takes_its_options(tmp_path, corpus, checkpoint):
    given = ["extract", str(corpus / "00[0-3].*"), "--store", str(tmp_path / "store"), "--encoder", str(checkpoint)]
    done = CliRunner().invoke(main, [*given, "--device", "cpu", "--jobs", "2", "--shard", "1/1", "--engine", "local"])
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "4 added, 0 there already, 0 failed")
    done = CliRunner().invoke(main, [*given, str(corpus / "005.mkv"), "--on-error", "raise"])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "005.mkv" in done.output


def make_by_command(root: Path, source: Path, checkpoint: Path) -> int:
    given = ["extract", str(source), "--store", str(root), "--encoder", str(checkpoint)]
    return CliRunner().invoke(main, given).exit_code


def test_jobs_that_start_at_once_make_one_store(tmp_path, corpus, checkpoint):
    with ProcessPoolExecutor(3, CONTEXT) as pool:
        names = ("000.wav", "001.flac", "002.mp3")
        runs = [pool.submit(make_by_command, tmp_path / "store", corpus / name, checkpoint) for name in names]
        assert [run.result() for run in runs] == [0, 0, 0]
    assert sorted(FeatureStore.open(tmp_path / "store")) == ["000.wav", "001.flac", "002.mp3"]
    assert in_child(n_lines, tmp_path / "store") == 3
