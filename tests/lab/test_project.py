"""The project's files are found from any folder below."""

import pytest

from musetools import OutputError, ParameterError
from musetools.lab import project
from musetools.lab.project import copy_notebooks, project_file


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


@pytest.fixture
def installed(tmp_path, monkeypatch):
    for path in ("notebooks/01.ipynb", "data/a.wav", "data/.hidden"):
        (tmp_path / "here" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / path).touch()
    monkeypatch.setattr(project, "_installed", lambda: tmp_path / "here")
    return tmp_path / "here"


def test_notebooks_are_copied_to_a_new_folder(installed, tmp_path):
    folder = copy_notebooks(tmp_path / "new")
    assert sorted(path.name for path in folder.rglob("*.*")) == ["01.ipynb", "a.wav"]
    with pytest.raises(OutputError, match="is not empty"):
        copy_notebooks(folder)


@pytest.mark.parametrize("name", ["data/mine", "notebooks/mine/deep"])
def test_notebooks_are_not_copied_into_themselves(installed, name):
    """A copy of the data in the data would hold a copy of itself, and so on until the disk is full."""
    with pytest.raises(OutputError, match="lies in what is copied"):
        copy_notebooks(installed / name)
    assert not (installed / name).exists()
