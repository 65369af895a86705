"""The drawn talker of the sample clips: texts, voices, and the rule by which the mouth opens.

``data/make.py`` draws the clips by these functions; `musetools.lab.speech` has the true openings from them.
"""

import io
import math
import shutil
import subprocess
from fractions import Fraction

import numpy as np
import soundfile
import soxr
from scipy.ndimage import gaussian_filter1d

from musetools.errors import ParameterError

__all__ = ["RATE", "SPOKEN", "VOICES", "openings", "speak", "to_16_bit"]

RATE = 44100  # samples a second of what is spoken
WORDS_PER_MINUTE = 150
SILENCE_S, PEAK_DBFS = 0.25, -3.0  # at both ends of what is spoken; its loudest sample
SHUT_DBFS, WIDE_DBFS = -42.0, -15.0
WINDOW_S = 0.025

VOICES = {
    "voice_a": (
        "en-us+f3",
        "On Saturday morning the market wakes before the town does. Farmers carry boxes of apples, plums and beans, "
        "while the baker puts warm bread upon a wooden table. A girl with a yellow umbrella buys five pears. "
        "Her brother would rather have cake. By noon the sun is high, the baskets are empty, "
        "and only a few pigeons remain. They walk about like owners, picking up the crumbs. "
        "Next week it will all begin again, with other fruit and the same old jokes.",
    ),
    "voice_b": (
        "en-gb-scotland+m3",
        "The boat leaves the harbour at half past six. There is fog over the water, so the captain rings the bell "
        "and moves slowly between the rocks. Nobody speaks. Then a breeze comes up from the west, "
        "and all at once we see the lighthouse, bright and white above the bay. Birds follow us for a mile or more. "
        "When the nets come in, everyone helps, and everyone goes home wet. "
        "That night we eat fish soup by the fire, and grandfather tells us, once more, how he lost his hat to a whale.",
    ),
    "voice_c": (
        "en-gb-x-rp+f4",
        "To make a good pot of tea, first boil fresh water. Warm the pot, pour the water away, "
        "and put in one spoon of leaves for each cup. Fill it, close the lid, and wait for four minutes. "
        "Do not hurry. You may look out of the window, or read a page of your book. "
        "Some people add milk, some prefer lemon, and my uncle, who is very old, drinks it with jam. "
        "Whatever you choose, use a cup that you love, and share the pot with a friend.",
    ),
}
SPOKEN = (
    (
        "en-gb+m1",
        "The train to the coast was late again. We sat on our bags, shared two sandwiches, and counted wagons "
        "full of coal and timber. An old man told us about the winter when the bridge froze. "
        "Nobody believed him, but everybody laughed. At last a whistle blew, and off we went, "
        "past fields, chimneys and quiet ponds.",
    ),
    (
        "en-us+f2",
        "My neighbour keeps bees behind the garage. Every evening she puts on a white suit, lifts the roof of each "
        "hive, and talks to them in a low voice. They seem to listen! In August there is honey for the whole street. "
        "We eat it on toast, with cheese, or straight from the spoon. Even the postman gets a jar.",
    ),
    (
        "en-us+m5",
        "How do you draw a horse? Begin with two circles, a large one and a small one. Join them by a bow. "
        "Add a neck, a long face, four thin legs, and do not forget the tail. Now rub out what you do not need. "
        "If it looks like a dog, make the neck longer. If it looks like a camel, start over.",
    ),
)


def speak(text: str, voice: str) -> np.ndarray:
    """Speak English text with an espeak-ng voice, such as ``en-us+f3``; ParameterError if espeak-ng is not installed.

    The waveform is float64, mono, 44.1 kHz, its peak at -3 dBFS, with a quarter of a second of silence at both ends.
    """
    if not shutil.which("espeak-ng"):
        raise ParameterError(
            "espeak-ng is missing: install the Debian package espeak-ng (apt install espeak-ng), or use the bundled "
            "clips (speech='bundled')"
        )
    command = ["espeak-ng", "-v", voice, "-s", str(WORDS_PER_MINUTE), "--stdin", "--stdout"]
    wav = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
    sound, rate = soundfile.read(io.BytesIO(wav))
    sound = soxr.resample(sound, rate, RATE)
    loud = np.flatnonzero(np.abs(sound) > 0.002 * np.abs(sound).max())
    sound = np.pad(sound[loud[0] : loud[-1] + 1], round(SILENCE_S * RATE))
    return to_16_bit(sound * 10 ** (PEAK_DBFS / 20) / np.abs(sound).max())


def to_16_bit(waveform: np.ndarray) -> np.ndarray:
    """Round to 16-bit steps, so that what is measured is exactly what is encoded."""
    return np.round(waveform * 32768) / 32768


def openings(waveform: np.ndarray, rate: int, fps: Fraction) -> np.ndarray:
    """Return how far the mouth is open at the start of each whole video frame, 0 (shut) … 1 (wide).

    It is the loudness at that time (Gaussian window, sigma 25 ms, centred: no delay). The waveform has full scale at 1
    and is (n_samples,) or (n_samples, n_channels), `rate` samples a second; frame ``n`` is measured at ``n / fps``.
    """
    mono = waveform.reshape(len(waveform), -1).mean(axis=1)
    power = gaussian_filter1d(mono**2, WINDOW_S * rate, mode="constant")
    times = np.arange(math.floor(len(mono) * fps / rate)) * float(rate / fps)
    level = 10 * np.log10(np.interp(times, np.arange(len(mono)), power) + 1e-12)
    return np.clip((level - SHUT_DBFS) / (WIDE_DBFS - SHUT_DBFS), 0, 1)
