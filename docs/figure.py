"""Draws the figure of the README, ``lag.png``, from the recipes' index matrices: ``python docs/figure.py``.

The other two images are screenshots, reduced to 1000 pixels and 128 colours: ``explorer.png`` is what
``tests/lab/explore/test_browser.py`` leaves in ``runs``, ``report.png`` the top of ``runs/report.html`` at 1200 x 900.
"""

from pathlib import Path

import numpy as np

from musetools.lab.look import COLOURS, INFER, OWN, TRAIN, figure
from musetools.recipes.profile import profile
from musetools.table import signed
from musetools.timing import SAMPLE_RATE, exact_fps

DRAWN = (  # recipe, what it is, colour, line style
    ("musetalk-v1-train", "MuseTalk v1, training", TRAIN, "-"),
    ("livetalking", "LiveTalking", COLOURS["purple"], "-"),
    ("musetalk-v1.5-infer", "MuseTalk 1.5, inference", INFER, "-"),
    ("musetools", "musetools", OWN, "-"),
)
SHOWN = {24: (-150, 50), 29.97: (-350, 700)}  # fps: lag that is shown, in ms; the rest leaves the axes
SECONDS = 20


def main(path: Path) -> None:
    """Draw lag over the time of the clip, at 24 and at 29.97 fps."""
    with figure(1, 2, figsize=(9, 3.4)) as (fig, axes):
        for ax, (fps, shown) in zip(axes[0], SHOWN.items(), strict=True):
            for name, label, colour, style in DRAWN:
                one = profile(name, SECONDS * SAMPLE_RATE, fps)
                label = f"{label}: {'stops' if one.stops else one.lag_text()}"
                times = np.array(one.frames) / float(exact_fps(fps))
                ax.plot(times, one.lag_ms, style, color=colour, label=label, linewidth=1.2)
            one = profile("musetalk-v1.5-infer", SECONDS * SAMPLE_RATE, fps)
            found = f"drift {signed(one.lag.drift_ms_s)} ms/s" if one.drifts else f"lag {one.lag_text()} ms"
            ax.set(xlabel="time in the clip, s", ylabel="lag of the chunk, ms", ylim=shown, xlim=(0, SECONDS))
            ax.set_title(f"At {fps} fps MuseTalk 1.5: {found}")
            ax.legend(fontsize=8, loc="lower right")
        fig.savefig(path, dpi=100)


if __name__ == "__main__":
    main(Path(__file__).with_name("lag.png"))
