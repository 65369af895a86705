"""Damage media files at random and look for damage that nobody reports: ``python tests/fuzz_media.py --minutes 10``.

Short clips in many containers are mutated: bits and header fields overwritten, files cut, spans removed, repeated,
inserted, files joined. A child process decodes each with every decoder and audits it. A *miss* is a file that a decoder
takes, without an error or warning of the audit, though its sound is 50 ms shorter or longer than the whole file's, 3 dB
louder or softer in some half second, or displaced by more than 20 ms in some second. Misses in formats that carry no
evidence (see `musetools.audio.structure`) are counted apart: "told" where the audit notes that the length cannot be
verified, "samples" where bytes of samples without a checksum changed. Exceptions that are no `AudioError`, deaths by a
signal, more than 10 s and more than 1 GiB are counted and named. ``--keep FOLDER`` saves what went wrong.
"""

import argparse
import multiprocessing as mp
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import av
import numpy as np
from fuzz_clips import CLIPS, MUTATIONS, NO_CHECKSUM, field, flip, join, noise, write_clips
from fuzz_judge import UNVERIFIED, complaints, examine

from musetools import load_audio
from musetools.audio.load import DECODERS

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(CLIPS), help="names of clips")
    parser.add_argument("--keep", type=Path, help="folder for files that went wrong")
    args = parser.parse_args()
    counts, running, n, peak, longest = Counter(), [], 0, (0, ""), (0.0, "")
    with tempfile.TemporaryDirectory() as name:
        clips = []
        for clip in write_clips(Path(name), args.only):
            with av.open(str(clip)) as container:
                found = [packet for packet in container.demux() if packet.pos]
                starts = sorted({packet.pos for packet in found} | {max(p.pos + p.size for p in found)})
            clips.append(
                (clip, starts, {decoder: load_audio(clip, decoder=decoder) for decoder in DECODERS}, complaints(clip))
            )
        end = time.monotonic() + 60 * args.minutes
        while running or time.monotonic() < end:
            while len(running) < args.jobs and time.monotonic() < end:
                running.append(Case(Path(name), *clips[n % len(clips)], f"{args.seed}:{n}"))
                n += 1
            for case in [case for case in running if case.done()]:
                running.remove(case)
                found, mib, seconds = case.judged()
                peak, longest = max(peak, (mib, case.path.name)), max(longest, (seconds, case.path.name))
                for decoder, verdict, detail in found:
                    for what in (case.clip, case.mutation.__name__, "all"):
                        counts[what, decoder, verdict] += 1
                    if verdict in BAD:
                        print(f"{verdict} {decoder} {case.path.name}: {detail}", flush=True)
                if args.keep and any(verdict in BAD for _, verdict, _ in found):
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / case.path.name).write_bytes(case.path.read_bytes())
                case.path.unlink()
            time.sleep(0.005)
    for what in (*args.only, *dict.fromkeys(mutation.__name__ for mutation in MUTATIONS), "all"):
        for decoder in (*DECODERS, "audit", "all", "end"):
            of = {verdict: k for (a, b, verdict), k in sorted(counts.items()) if (a, b) == (what, decoder)}
            if of:
                print(f"{what:16} {decoder:9}", ", ".join(f"{verdict} {k}" for verdict, k in of.items()))
    print(f"{n} files; peak {peak[0]} MiB ({peak[1]}); longest {longest[0]:.1f} s ({longest[1]})")


if __name__ == "__main__":
    main()
