"""Media files of eight containers, damaged: a decoder tells, or gives the sound that was there.

Short clips are mutated: bits and header fields overwritten, files cut, spans removed, repeated, inserted, files joined.
A child process decodes each with every decoder and audits it. A *miss* is a file that a decoder takes, without an error
or warning of the audit, though its sound is 50 ms shorter or longer than the whole file's, 3 dB off in half a second,
or displaced by more than 20 ms in some second. Misses in formats that carry no evidence (see
`musetools.audio.structure`) are counted apart: "told" where the audit notes that the length cannot be verified,
"samples" where bytes of samples without a checksum changed. Exceptions that are no `AudioError`, deaths by a signal,
more than 10 s and more than 1 GiB are faults as well. By hand every container of `CLIPS` takes its turn, and
``MUSETOOLS_FUZZ_KEEP=FOLDER`` saves what went wrong.
"""

import multiprocessing as mp
import os
import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from fuzz import COUNTS, MINUTES, N_TESTS
from fuzz_clips import CLIPS, MUTATIONS, NO_CHECKSUM, field, flip, join, noise, write_clips
from fuzz_judge import UNVERIFIED, complaints, examine

from musetools import load_audio
from musetools.audio import DECODERS

SLOW_S, LARGE_MIB, KILL_S = 10, 1024, 30


class Case:
    """One damaged file in the hands of a child process."""

    def __init__(self, folder: Path, clip: Path, starts: list[int], whole: dict, usual: set[str], seed: str):
        r = random.Random(seed)
        self.clip, self.usual, self.mutation = clip.name, usual, r.choice(MUTATIONS)
        content = self.mutation(bytearray(clip.read_bytes()), starts, r)
        self.path = folder / f"{seed.replace(':', '-')}-{self.mutation.__name__}-{clip.name}"
        self.path.write_bytes(content)
        changed = [i for i, (a, b) in enumerate(zip(clip.read_bytes(), content, strict=False)) if a != b]
        kept = self.mutation in (flip, field, noise) and clip.name in NO_CHECKSUM
        self.inside = kept and any(starts[0] <= i < starts[-1] for i in changed)
        whole = {name: np.tile(sound, 1 + (self.mutation is join)) for name, sound in whole.items()}
        self.receiver, sender = mp.Pipe(duplex=False)
        self.child = mp.Process(target=examine, args=(self.path, whole, sender))
        self.child.start()
        sender.close()
        self.began = time.monotonic()

    def done(self) -> bool:
        if self.child.is_alive() and time.monotonic() - self.began > KILL_S:
            self.child.kill()
        return not self.child.is_alive()

    def judged(self) -> tuple[list[tuple[str, str, str]], int, float]:
        """Give (decoder, verdict, detail) of each decoder, peak memory in MiB and the longest time in seconds."""
        said, peak = [], 0
        while self.receiver.poll():
            try:
                what = self.receiver.recv()
            except EOFError:
                break
            said, peak = (said, what) if isinstance(what, int) else ([*said, what], peak)
        self.child.join()
        audit = next((item[2] for item in said if item[:2] == ("audit", "audited")), {"killed"})
        found = [(name, self._verdict(outcome, str(detail), audit), str(detail)) for name, outcome, detail, _ in said]
        if self.child.exitcode:
            found.append(((*DECODERS, "audit", "end")[len(said)], "killed", f"exit code {self.child.exitcode}"))
        found += [(name, "slow", f"{seconds:.1f} s") for name, *_, seconds in said if seconds > SLOW_S]
        found += [("all", "large", f"{peak} MiB")] if peak > LARGE_MIB else []
        return found, peak, max((seconds for *_, seconds in said), default=KILL_S)

    def _verdict(self, outcome: str, detail: str, audit: set[str]) -> str:
        if outcome != "wrong":
            return outcome
        if audit - self.usual - {UNVERIFIED}:
            return "reported"
        if UNVERIFIED in audit:
            return "told"
        return "samples" if self.inside and not detail.startswith("length") else "MISS"


BAD = ("MISS", "exception", "killed", "slow", "large")
EIGHT = "pcm.wav", "flac.flac", "opus.opus", "xing.mp3", "aac.m4a", "front.mp4", "opus.webm", "aac.ts"
N_CASES, JOBS = 32, 2


def prepared(folder: Path, names: Iterable[str]) -> list[tuple]:
    """Write clips; give each with where its packets begin, its sound, and what the audit says of it whole."""
    clips = []
    for clip in write_clips(folder, names):
        with av.open(str(clip)) as container:
            found = [packet for packet in container.demux() if packet.pos]
            starts = sorted({packet.pos for packet in found} | {max(p.pos + p.size for p in found)})
        sounds = {decoder: load_audio(clip, decoder=decoder) for decoder in DECODERS}
        clips.append((clip, starts, sounds, complaints(clip)))
    return clips


def test_media(tmp_path):
    clips, running, faults, n = prepared(tmp_path, CLIPS if MINUTES else EIGHT), [], [], 0
    counts, end, seed = Counter(), time.monotonic() + 60 * MINUTES / N_TESTS, int(time.time()) if MINUTES else 0
    while running or n < N_CASES or time.monotonic() < end:
        while len(running) < JOBS and (n < N_CASES or time.monotonic() < end):
            running.append(Case(tmp_path, *clips[n % len(clips)], f"{seed}:{n}"))
            n += 1
        for case in [case for case in running if case.done()]:
            running.remove(case)
            found = case.judged()[0]
            counts.update(verdict for _, verdict, _ in found)
            bad = [
                f"{verdict} {decoder} {case.path.name}: {detail}"
                for decoder, verdict, detail in found
                if verdict in BAD
            ]
            faults += bad
            if bad and (keep := os.environ.get("MUSETOOLS_FUZZ_KEEP")):
                Path(keep, case.path.name).write_bytes(case.path.read_bytes())
            case.path.unlink()
        time.sleep(0.005)
    COUNTS["media"] = [n, counts["refused"]]
    assert counts["right"]
    assert counts["refused"]
    assert not faults, "\n".join(faults)
