"""Draws the figure of the README from the recipes' index matrices: ``python docs/figure.py``."""

from pathlib import Path

import numpy as np

from musetools.lab.look import COLOURS, INFER, OWN, TRAIN, figure
from musetools.recipes.profile import profile

DRAWN = (  # recipe, what it is, colour, line style
    ("musetalk-v1-train", "MuseTalk v1, training", TRAIN, "-"),
    ("musetalk-v1-infer", "MuseTalk v1, inference", INFER, "-"),
    ("musetalk-v1.5-infer", "MuseTalk 1.5, inference", INFER, "--"),
    ("livetalking", "LiveTalking", COLOURS["purple"], "-."),
    ("musetools", "musetools", OWN, "-"),
)
RATES, SECONDS, SAMPLE_RATE = (24, 29.97), 10, 16_000


def main(path: Path) -> None:
    """Draw lag over the time of the clip, at 24 and at 29.97 fps."""
    with figure(1, 2, figsize=(9, 3.6), sharex=True) as (fig, axes):
        for ax, fps in zip(axes[0], RATES, strict=True):
            for name, label, colour, style in DRAWN:
                one = profile(name, SECONDS * SAMPLE_RATE, fps)
                if one.stops:
                    continue
                times = np.array(one.frames) / (30000 / 1001 if fps == 29.97 else fps)
                ax.plot(times, one.lag_ms, style, color=colour, label=label, drawstyle="steps-post", linewidth=1.4)
                print(fps, name, one.lag_text(), len(one.rows))
            ax.set(xlabel="time in the clip, s", ylabel="lag of the chunk, ms")
            ax.set_title(f"{fps} fps")
        axes[0, 0].legend(fontsize=8)
        fig.savefig(path, dpi=100)


if __name__ == "__main__":
    main(Path(__file__).with_name("lag.png"))
