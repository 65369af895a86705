"""Many files into a store: a bad file is recorded with its reason, the rest goes on, a rerun adds what is missing."""

import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from musetools.errors import AudioError, OutputError, ParameterError, one_of
from musetools.features.encoder import Encoder
from musetools.files import Found, sweep, write_whole
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.train.pipeline import Options, Pipeline, known_outcome
from musetools.train.report import ExtractReport, Outcome
from musetools.train.sources import ClipSource, find_clips, in_shard
from musetools.train.store import FeatureStore, checked_store
from musetools.train.stored import CLIPS
from musetools.worker import usable_cores

__all__ = ["ExtractReport", "extract"]

RUNNING = ".extracting"  # locked by whoever came first
PAGE = "<!doctype html><meta charset='utf-8'><title>Extraction</title><body style='font-family:sans-serif'>"


def extract(
    sources: str | os.PathLike | Iterable[str | os.PathLike] | Mapping[str, str | os.PathLike],
    store: FeatureStore | Callable[[], FeatureStore],
    encoder: Encoder,
    *,
    check: str | Recipe = "musetools",
    lenient: bool = False,
    refuse: Callable[[Path], str | None] | None = None,
    audio_track: int | None = None,
    video_track: int | None = None,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    shard: str | None = None,
    on_error: str = "record",
    progress: bool = True,
) -> ExtractReport:
    """Extract the features of many files into a store, but for clips that would train a model on wrong sound.

    Each clip is checked on the way, see `musetools.audit_clip`. Sound that starts late or has holes is laid where its
    time stamps say if the store's spec decodes so (``decoder="timeline"``); the report and the clip's record say so.
    Whatever else the check calls an error leaves the clip out, with the reason. Files are decoded in processes of their
    own, ahead of the encoder: one that ends its process by a fault in native code is a failure of that file alone.
    A rerun skips clips whose file is what it was, by path, size and modification time, else by its hash; a file
    that has changed is made again.

    Parameters
    ----------
    sources : path, iterable of paths, or mapping of clip id to path
        Media files, globs, and folders, which are searched; a clip's id is its path below the folder, ``/`` written
        ``__``. A ``.csv`` or ``.parquet`` file is a table with a column ``path`` (below the table's folder, or
        absolute) and, where they are known, ``clip`` (its id), ``fps`` and ``frames`` of the video that it belongs to.
        A mapping names the clips as it likes.
    store : FeatureStore or callable
        Where they go; or a function that makes it, called once all other arguments are checked, and a cluster answers.
    encoder : Encoder
        The one that the store was made with.
    check : Recipe or str, default "musetools"
        The pipeline for which each new clip is checked.
    lenient : bool, default False
        Whether clips with errors that decoding does not mend are taken all the same.
    refuse : callable, optional
        Asked of the file of each clip that is to be made, before the first is read; a reason, or an error of
        musetools, leaves the clip out, such as those of `musetools.lips.folder.lips_errors`.
    audio_track, video_track : int, optional
        Tracks, counted from 1; see `load_audio`.
    workers : int, optional
        Processes that decode; by default one a core, at least 2 and at most 8. With ``engine="ray"`` for each encoder:
        by default 2, with GPUs what there is of CPUs to a GPU.
    engine : {"local", "ray"}
        Where clips are encoded: here, or on a Ray cluster (extra ``ray``) all of whose machines see the files and the
        store under the same paths.
    address : str, optional
        Of a Ray cluster; by default one is started on this machine.
    shard : str, optional
        ``"i/n"``: the i-th of n parts of the clips, so that n jobs share the work; a clip's part depends on its id.
    on_error : {"record", "raise"}
        Whether a bad file is recorded or ends the run.
    progress : bool, default True
        Whether a bar is drawn on a terminal.

    Returns
    -------
    ExtractReport
        Kept in the store, too, as ``report.json`` and ``report.html``. Where another process adds the same files to the
        store, a clip counts as added by the one that was faster, and as there already for the other. Where the store
        cannot be written to, the clips that are still to do are listed.

    Raises
    ------
    StoreError
        If the store was made otherwise.
    ParameterError
        If the store is none; if a source is neither file nor folder, or a folder without media; if a table cannot be
        used; or if there is no such recipe, engine or shard, or no worker.
    MusetoolsError, OSError
        With ``on_error="raise"``, what is wrong with the first bad file.

    Warns
    -----
    UserWarning
        If the report cannot be written.
    """
    one_of("engine", engine, ("local", "ray"))
    if address is not None and engine != "ray":
        raise ParameterError(f"an address names a Ray cluster; got {address!r} with engine {engine!r}. Use engine ray")
    one_of("on_error", on_error, ("record", "raise"))
    if workers is not None and workers < 1:
        raise ParameterError(f"workers must be 1 or more; got {workers}")
    options = Options(recipe_of(check), lenient, audio_track, video_track, workers)
    every, found = find_clips(sources)
    clips = in_shard(every, shard)
    report = ExtractReport(
        found=len(clips) + len(found.closed), passed_over=found.summary(), elsewhere=len(every) - len(clips)
    )
    with ExitStack() as stack:
        made = None
        if engine == "ray":  # its processes have working folders of their own
            clips = [replace(source, path=source.path.absolute()) for source in clips]
        if callable(store):  # where no cluster answers, none is made
            made, store = stack.enter_context(_engine(engine, address)), store()
        checked_store(store).check_provenance(encoder)
        for folder in (store.root, store.root / CLIPS):
            sweep(folder)
        known, todo = _sorted_out(found, clips, store, refuse)
        made = made or stack.enter_context(_engine(engine if todo else "local", address))
        with (
            _in_turn(todo, store) as todo,
            tqdm(total=report.found, unit="clip", file=sys.stderr, disable=None if progress else True) as bar,
            closing(made(todo, store, encoder, options)) as outcomes,
        ):
            _follow(chain(known, outcomes), todo, report, on_error == "raise", bar)
    _keep(report, store.root, shard)
    return report


@contextmanager
def _engine(engine: str, address: str | None) -> Iterator[Callable[..., Iterator[Outcome]]]:
    """Give the function that adds clips to a store and yields what becomes of each."""
    if engine == "local":
        yield _made_here
        return
    from musetools.train.cluster import connected, made_on_ray

    with connected(address) as ray:
        yield partial(made_on_ray, ray)


def _made_here(
    todo: Sequence[ClipSource], store: FeatureStore, encoder: Encoder, options: Options
) -> Iterator[Outcome]:
    workers = options.workers or min(8, max(2, usable_cores()))
    with Pipeline(store, encoder, replace(options, workers=min(workers, len(todo)))) as pipeline:
        yield from pipeline.run(todo)


def _sorted_out(
    found: Found, clips: Sequence[ClipSource], store: FeatureStore, refuse: Callable[[Path], str | None] | None
) -> tuple[list[Outcome], list[ClipSource]]:
    """Return what is known before anything is read, and the clips that are to be made."""
    known = [
        Outcome(ClipSource(path, Path(path)), AudioError(f"the folder {path} cannot be searched: {reason}"))
        for path, reason in found.closed.items()
    ]
    todo = []
    store.manifest.refresh()
    for source in clips:
        if outcome := known_outcome(store, source, refuse):
            known.append(outcome)
        else:
            todo.append(replace(source, again=source.clip in store))
    return known, todo


@contextmanager
def _in_turn(todo: list[ClipSource], store: FeatureStore) -> Iterator[list[ClipSource]]:
    """Yield clips in order; for whoever comes while another extraction runs from the end, so that the two meet."""
    lock = FileLock(store.root / RUNNING)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        todo = todo[::-1]
    except OSError:  # whoever writes a clip says what is wrong
        pass
    try:
        yield todo
    finally:
        lock.release()


def _follow(
    outcomes: Iterable[Outcome], todo: Iterable[ClipSource], report: ExtractReport, strict: bool, bar: tqdm
) -> None:
    """Count clips as they come; the first error ends it if `strict`, one that would meet every clip does so anyway."""
    waiting, began = Counter(todo), time.monotonic()
    for outcome in outcomes:
        if outcome.error and strict:
            raise outcome.error
        waiting[outcome.source] -= 1
        report.take(outcome)
        report.took_s = time.monotonic() - began
        bar.set_postfix_str(f"{report.hours:.2f} h of audio, {report.speed:.0f}x real time", refresh=False)
        bar.update()
        if outcome.stops:
            report.stopped, report.left = str(outcome.error), [source.clip for source in (+waiting).elements()]
            return


def _keep(report: ExtractReport, root: Path, shard: str | None) -> None:
    """Write the report down; where that cannot be done, it is returned all the same."""
    name = f"report-{shard.replace('/', '-of-')}" if shard else "report"
    try:
        write_whole(root / f"{name}.json", report.to_json().encode())
        write_whole(root / f"{name}.html", f"{PAGE}{report._repr_html_()}".encode(errors="backslashreplace"))
    except OutputError as error:
        warnings.warn(f"{error}. The report is complete, but it is not kept in the store", stacklevel=3)
