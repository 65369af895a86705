"""A file that ends the process that reads it is a failure of that file alone."""

import os
import sys
import threading
from functools import partial

import psutil
import pytest
from deadly import DEADLY, counting, deadly_facts, deadly_media, failing
from media import speech, write_media

import musetools as mt
from musetools import worker
from musetools.check import folder
from musetools.train import pipeline
from musetools.worker import Ahead, Worker, side_by_side


@pytest.fixture
def clips(tmp_path):
    inside = tmp_path / "clips"
    inside.mkdir()
    for name in ("a.wav", DEADLY, "z.wav"):
        write_media(inside / name, speech(12), 44_100)
    return inside


def test_what_a_generator_yields_and_raises():
    with Worker() as worker:
        assert list(worker.run(counting, "a", up_to=4)) == [0, 1, 2, 3]
        with pytest.raises(mt.AudioError, match=r"^b is no sound$"):
            list(worker.run(failing, "b"))
        assert list(worker.run(counting, "c")) == [0, 1, 2]  # the same process goes on


def test_modules_come_from_where_they_come_from_here(tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise RuntimeError('a file of the working folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path] + [tmp_path])  # a Path is passed over
    with Worker() as worker:
        assert list(worker.run(counting, "a")) == [0, 1, 2]


def test_a_generator_that_is_left_holds_nothing_up():
    before = psutil.Process().children()
    with Worker() as worker:
        endless = worker.run(counting, "a", up_to=10**9)
        assert next(endless) == 0
        endless.close()
        assert list(worker.run(counting, "b")) == [0, 1, 2]
    assert psutil.Process().children() == before


def test_a_thread_runs_ahead_and_is_closed():
    closed = []

    def numbers(n):
        try:
            yield from range(n)
            raise mt.AudioError("the end")
        finally:
            closed.append(n)

    ahead, got = Ahead(numbers(5), 2), []
    with pytest.raises(mt.AudioError, match="the end"):
        got.extend(ahead)
    assert (got, list(ahead)) == ([0, 1, 2, 3, 4], [])
    ahead.close()
    endless = Ahead(numbers(10**9), 2)
    assert next(endless) == 0
    endless.close()
    endless.close()
    assert (closed, list(endless)) == ([5, 10**9], [])


def test_extract_survives(clips, tmp_path, small, monkeypatch):
    monkeypatch.setattr(pipeline, "read_media", deadly_media)
    store = mt.FeatureStore.create(tmp_path / "store", "musetools", small)
    report = mt.extract([clips], store, small, progress=False)
    assert report.added == ["a.wav", "z.wav"]
    ((path, reason),) = report.failed.items()
    assert path == str(clips / DEADLY)
    assert "ends the process that reads it (SIGSEGV)" in reason
    assert store.verify().ok
    assert sorted(p.name for p in (store.root / "clips").iterdir()) == ["a.wav.npy", "z.wav.npy"]


def test_check_survives(clips, monkeypatch):
    monkeypatch.setattr(folder, "clip_facts", deadly_facts)
    audits = {os.path.basename(audit.name): audit for audit in folder.audit_folder(clips).audits}
    assert {name: audit.level for name, audit in audits.items()} == {"a.wav": "ok", DEADLY: "error", "z.wav": "ok"}
    assert "SIGSEGV" in audits[DEADLY].findings[0].sentence


def test_clips_share_a_process(clips, monkeypatch):
    started, start = [], worker._started
    monkeypatch.setattr(worker, "_started", lambda: started.append(1) or start())
    assert len(folder.audit_folder(clips).audits) == 3
    assert len(started) == 1


# --- calls side by side


def test_calls_side_by_side_come_in_order():
    """The first waits for the second, so that they must run together; no more are begun than may run and one."""
    second, begun, started = threading.Event(), [], []

    def call(number):
        assert second.wait(60) if number == 0 else second.set() is None
        return number

    def calls():
        for number in range(9):
            begun.append(number)
            yield partial(call, number)

    got = side_by_side(calls(), 2, lambda: started.append(threading.get_ident()))
    assert next(got) == 0
    assert begun == [0, 1, 2]
    assert list(got) == list(range(1, 9))
    assert len(set(started)) == 2


def test_an_error_of_a_call_is_raised_in_its_place():
    calls = [lambda: 1, lambda: 1 // 0, lambda: 3]
    got = side_by_side(calls, 2, lambda: None)
    assert next(got) == 1
    with pytest.raises(ZeroDivisionError):
        next(got)
