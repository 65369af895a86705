"""What an installed wheel can do without extras and without a source tree; .ci/run calls it: python try_wheel.py CLIP.

Run it outside the checkout, with the interpreter of an environment that holds nothing but the wheel.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import musetools as mt


@contextmanager
def raising(kind: type[Exception]) -> Iterator[list[str]]:
    """Do as pytest.raises, which is not installed here."""
    messages: list[str] = []
    try:
        yield messages
    except kind as error:
        messages.append(str(error))
    assert messages, f"{kind.__name__} expected"


def main(clip: str) -> None:
    assert "site-packages" in mt.__file__, mt.__file__
    encoder = mt.load_encoder("untrained-tiny")
    features = mt.audio2feat(clip, encoder)
    chunks = mt.feature2chunks(features, 29.97)
    assert chunks[10].shape == (50, 384)
    with tempfile.TemporaryDirectory() as folder:
        store = mt.FeatureStore.create(Path(folder) / "store", "live", encoder)
        assert mt.extract([clip], store, encoder).ok
        item = mt.ChunkDataset(store)[0]
        assert item["audio"].shape == (50, 384)
    stream = mt.ChunkStream(encoder, fps=25)
    live = stream.push(np.zeros(32_000, np.float32)) + stream.flush()
    assert len(live) == 50
    done = subprocess.run(
        [sys.executable, "-m", "musetools", "check", clip], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "0 of 1 clips have errors" in done.stdout
    with raising(mt.MissingExtraError) as message:
        _ = mt.compare
    assert "musetools[lab]" in message[0]
    print(f"musetools {mt.__version__} from {Path(mt.__file__).parent}: all of it works without extras")


if __name__ == "__main__":
    main(sys.argv[1])
