"""What each decoder and the audit say of a file, and whether it is right: the child of ``test_fuzz_media.py``."""

import resource
import time
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np

from musetools import AudioError, audit_clip, load_audio
from musetools.audio import DECODERS

UNVERIFIED, MEMORY = "unverified length", 4 << 30
RATE, FLOOR = 16_000, 10 ** (-45 / 20)  # of level: what is softer counts as this soft


def wrong(sound: np.ndarray, whole: np.ndarray) -> str:
    """Say how sound differs from what it should be."""
    if abs(len(sound) - len(whole)) > 0.05 * RATE:
        return f"length {len(sound) / RATE:.2f} s of {len(whole) / RATE:.2f}"
    n = min(len(sound), len(whole))
    for at in range(0, n - RATE // 2, RATE // 2):
        a, b = (max(FLOOR, float(np.sqrt(np.mean(x[at : at + RATE // 2] ** 2)))) for x in (sound, whole))
        if abs(20 * np.log10(a / b)) > 3:
            return f"level {20 * np.log10(a / b):+.1f} dB at {at / RATE:.1f} s"
    for at in range(0, n - RATE, RATE):
        a, b = sound[at : at + RATE], whole[at : at + RATE]
        energy = float(np.linalg.norm(a) * np.linalg.norm(b))
        like = np.fft.irfft(np.fft.rfft(a, 2 * RATE) * np.conj(np.fft.rfft(b, 2 * RATE))) / max(energy, RATE * FLOOR**2)
        lag = int(np.argmax(like))
        lag -= 2 * RATE * (lag > RATE)
        if abs(lag) > 0.02 * RATE and like[lag] > max(0.5, like[0] + 0.2):
            return f"displaced {1000 * lag / RATE:+.0f} ms at {at / RATE:.1f} s"
    return ""


def complaints(path: Path) -> set[str]:
    """Name what an audit finds; of notes the one that the length cannot be verified."""
    return {found.what for found in audit_clip(path).findings if found.level != "note" or found.what == UNVERIFIED}


def examine(path: Path, whole: dict[str, np.ndarray], sender: Connection) -> None:
    """Send what each decoder does with a file: (decoder, outcome, detail, seconds); at the end how many MiB it took."""
    before = peak_mib()  # a child that was forked begins with what its parent holds
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    av.logging.set_level(None)
    for decoder in (*DECODERS, "audit"):
        began, outcome, detail = time.monotonic(), "refused", ""
        try:
            if decoder == "audit":
                outcome, detail = "audited", complaints(path)
            elif detail := wrong(load_audio(path, decoder=decoder), whole[decoder]):
                outcome = "wrong"
            else:
                outcome = "right"
        except AudioError as error:
            detail = str(error)
        except BaseException as error:
            outcome, detail = "exception", f"{type(error).__name__}: {error}"
        sender.send((decoder, outcome, detail, time.monotonic() - began))
    sender.send(peak_mib() - before)


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
