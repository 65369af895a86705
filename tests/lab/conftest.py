"""What rooms of the lab share in their tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundled() -> list:
    """The talkers of the project's own data, which are found from its folder."""
    from musetools.lab.speech import find_talkers  # needs the extra lab, which not all tests below do

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).resolve().parents[2])
        return find_talkers("bundled")
