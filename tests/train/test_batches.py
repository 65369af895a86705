"""On a GPU windows of several clips are encoded together, so that short clips fill a batch; tried on the CPU here."""

import numpy as np
import soundfile
from oracles import speech

from musetools import FeatureStore, extract


def test_short_clips_share_batches(tmp_path, small, request):
    """Nine clips of a second and one of a minute, one of them bad in the middle: each gets its own rows."""
    (tmp_path / "clips").mkdir()
    for number in range(9):
        soundfile.write(tmp_path / "clips" / f"{number}.wav", speech(16_000 + 400 * number), 16_000)
    soundfile.write(tmp_path / "clips" / "9.wav", speech(60 * 16_000), 16_000)
    (tmp_path / "clips" / "4.wav").write_bytes(b"no sound")
    alone = extracted(tmp_path, "alone", small)
    sizes = request.getfixturevalue("as_on_a_gpu")
    together = extracted(tmp_path, "together", small)
    assert sizes == [4, 4, 2]  # of 8 short clips and two windows of the long one
    assert together.clips == alone.clips
    assert len(alone.clips) == 9
    for clip in alone.clips:
        np.testing.assert_allclose(together[clip], alone[clip], rtol=0, atol=2e-5)


def extracted(folder, name: str, encoder) -> FeatureStore:
    store = FeatureStore.create(folder / name, "musetools", encoder)
    report = extract(folder / "clips", store, encoder, workers=2)
    assert [name.endswith("4.wav") for name in report.failed] == [True]
    return store
