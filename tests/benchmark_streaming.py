"""What a live step costs, as ratios measured in one run: ``python tests/benchmark_streaming.py``.

Not a test: times are shown, not asserted. Expected on a CPU: a step of 640 ms at least 20 times cheaper than the same
padded to 30 s, and steps of 40 ms on one thread in less than a quarter of real time.
"""

import argparse

import torch
from oracles import SAMPLE_RATE, speech

import musetools as mt
from musetools.infer.live import ComputeTime

SIDE_S = 0.2  # seen either side of a step
STEPS = {
    "640 ms": mt.EncoderWindow(SIDE_S, 0.64, SIDE_S, None, positions="clip"),
    "640 ms, padded to 30 s": mt.EncoderWindow(SIDE_S, 0.64, SIDE_S, 30, positions="clip"),
    "40 ms": mt.EncoderWindow(SIDE_S, 0.04, SIDE_S, None, positions="clip"),
}
NAMED = ["live-low", "live"]


def cost(stream: mt.ChunkStream, seconds: float, block_s: float = 0.02) -> ComputeTime:
    """Push speech as a sound card sends it; return what its steps cost once the first second has warmed up."""
    waveform, block = speech(round(seconds * SAMPLE_RATE)), round(block_s * SAMPLE_RATE)
    stream.push(speech(SAMPLE_RATE))
    stream.reset()
    for start in range(0, len(waveform), block):
        stream.push(waveform[start : start + block])
    return stream.compute


def measure(name: str, seconds: float, repeats: int) -> dict[str, ComputeTime]:
    """Return the cheapest of some runs of each window, all of them in turn, so that a busy machine slows all."""
    encoder, costs = mt.load_encoder(name, device="cpu"), {}
    streams = {what: mt.ChunkStream(encoder, 25, window=window) for what, window in STEPS.items()}
    streams |= {what: mt.ChunkStream(encoder, 25, window=what) for what in NAMED}
    for _ in range(repeats):
        for what, stream in streams.items():
            new = cost(stream, seconds)
            costs[what] = min(costs.get(what, new), new, key=lambda each: each.mean_s)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="untrained-tiny")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    costs = measure(given.encoder, given.seconds, given.repeats)
    for what, each in costs.items():
        print(f"{what}: {each}")
    ratio = costs["640 ms, padded to 30 s"].mean_s / costs["640 ms"].mean_s
    print(f"a step of 640 ms padded to 30 s costs {ratio:.1f} times the same step alone (expected: at least 20)")
    share = costs["40 ms"].of_real_time
    print(f"steps of 40 ms take {share:.3f} of real time on {given.threads} thread(s) (expected: under 0.25)")


if __name__ == "__main__":
    main()
