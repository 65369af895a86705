"""The project's files are found from any folder below."""

import pytest

from musetools import ParameterError
from musetools.lab.project import project_file


def test_files_are_found_from_any_folder_below(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a clip.wav").touch()
    (tmp_path / "notebooks" / "deep").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "notebooks" / "deep"):
        monkeypatch.chdir(folder)
        for path in ("data/a clip.wav", tmp_path / "data" / "a clip.wav"):
            assert project_file(path) == (tmp_path / "data" / "a clip.wav").resolve()


@pytest.mark.parametrize("path", ["data/none.wav", "/nowhere/none.wav"])
def test_a_file_that_is_nowhere_is_named(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=r"none\.wav") as caught:
        project_file(path)
    assert str(tmp_path) in str(caught.value)
