"""What `python -m cases` need not read again, and what it must."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from backproof.cases import __main__ as command
from backproof.cases.reading import kept, load

TEXT = """\
title: A neuron
dtypes: [float64]
network: [{dense: {units: 1}}]
parameters: {dense1.weight: [[1]], dense1.bias: [0]}
data: {inputs: [[1]], targets: [[0]]}
loss: {squared_error: {factor: 0.5, reduction: sum}}
"""
FROM_FILE = TEXT.replace("[[1]], targets", "{file: numbers.csv}, targets")


@pytest.fixture
def read(tmp_path, monkeypatch):
    """An empty working directory and cache; the files that were read come into this list."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(kept.PLACE, str(tmp_path / "cache"))
    files, load_now = [], load.load
    monkeypatch.setattr(load, "load", lambda file, *name: files.append(file.name) or load_now(file, *name))
    return files


def listed(capsys, code: int = 0) -> tuple[str, str]:
    assert command.main(["."]) == code
    return capsys.readouterr()


def test_what_is_valid_is_read_once(read, capsys):
    """A name is that of the file, so that a copy need not be read either."""
    Path("a.yaml").write_text(TEXT)
    first = listed(capsys)
    assert read == ["a.yaml"]
    assert listed(capsys) == first
    Path("b.yaml").write_text(TEXT)
    assert [line.split()[0] for line in listed(capsys)[0].splitlines()] == ["case", "a", "b"]
    assert read == ["a.yaml"]


def test_a_mistake_is_told_every_time(read, capsys):
    Path("a.yaml").write_text(TEXT)
    Path("b.yaml").write_text(TEXT.replace("title", "titel"))
    first = listed(capsys, 2)
    assert "b.yaml:1:1: " in first[1]
    assert listed(capsys, 2) == first
    assert read == ["a.yaml", "b.yaml", "b.yaml"]


def test_a_mistake_that_came_in_is_told(read, capsys):  # noqa: ARG001
    Path("a.yaml").write_text(TEXT)
    listed(capsys)
    Path("a.yaml").write_text(TEXT.replace("[[1]], dense", "[[1, 2]], dense"))
    out, err = listed(capsys, 2)
    assert out == ""
    assert err.startswith("a.yaml:4:")


def test_numbers_beside_a_case_are_a_part_of_it(read, capsys):
    Path("numbers.csv").write_text("1\n")
    Path("a.yaml").write_text(FROM_FILE)
    listed(capsys)
    listed(capsys)
    assert read == ["a.yaml"]
    Path("numbers.csv").write_text("none\n")
    assert "numbers.csv" in listed(capsys, 2)[1]
    Path("numbers.csv").unlink()
    assert "there is no file 'numbers.csv'" in listed(capsys, 2)[1]


def test_where_packages_add_kinds_all_is_read(read, capsys, monkeypatch):
    Path("a.yaml").write_text(TEXT)
    added = EntryPoints([EntryPoint("mine", "nowhere", kept.GROUPS[0])])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda: added)
    listed(capsys)
    listed(capsys)
    assert read == ["a.yaml", "a.yaml"]


@pytest.mark.parametrize("content", ["", "[]", "[1, 2]", '{"x": 1}', "\0"])
def test_what_cannot_be_read_is_found_anew(read, capsys, content):
    Path("cache").mkdir()
    Path("cache", kept.FILE).write_text(content)
    Path("a.yaml").write_text(TEXT)
    listed(capsys)
    listed(capsys)
    assert read == ["a.yaml"]


def test_a_cache_that_cannot_be_written_is_no_failure(read, capsys):
    Path("cache").touch()
    Path("a.yaml").write_text(TEXT)
    listed(capsys)
    listed(capsys)
    assert read == ["a.yaml", "a.yaml"]


def test_other_sources_read_anew(read, capsys, monkeypatch):
    Path("a.yaml").write_text(TEXT)
    listed(capsys)
    monkeypatch.setattr(kept, "CASES", Path.cwd())
    Path("reader.py").touch()
    listed(capsys)
    assert read == ["a.yaml", "a.yaml"]


def test_only_the_latest_stay(read, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(kept, "MOST", 2)
    rows = kept.Kept()
    for name in "abc":
        rows.put(name, (name,))
    rows.save()
    assert [*kept.Kept().rows] == ["b", "c"]


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(kept.PLACE, "here")
    assert kept.cache_folder() == Path("here")
    monkeypatch.setenv(kept.PLACE, "~/here")
    assert kept.cache_folder() == tmp_path / "here"
    monkeypatch.delenv(kept.PLACE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert kept.cache_folder() == tmp_path / "x" / "backproof"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert kept.cache_folder() == tmp_path / ".cache" / "backproof"
