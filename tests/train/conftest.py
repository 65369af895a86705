"""What the tests of the training side share."""

import pytest
from stores import make_store


@pytest.fixture
def store(tmp_path, small):
    """A store of four clips."""
    return make_store(tmp_path / "store", small, "abcd")
