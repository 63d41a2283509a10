"""Every case file × dtype × backend is a test: `pytest cases/xor/two_four_one.yaml::float64-torch`.

The plugin registers itself where backproof is installed. What a case needs is imported when the
first one is collected.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from backproof.cases.console.terminal import plain

SUFFIXES = (".yaml", ".yml")
FOLDERS, BACKENDS, REQUIRED = "backproof_cases", "backproof_backend", "backproof_require_backend"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options: folders with cases, backends, and whether all of them must be there."""
    about = "folders whose YAML files are cases: each is a test on every backend"
    parser.addini(FOLDERS, about, type="paths")
    add = parser.getgroup("backproof").addoption
    about = "run the cases on this backend only; NAME=FILE.py:FUNCTION is a function of your own"
    add("--backproof-backend", action="append", dest=BACKENDS, metavar="NAME", help=about)
    about = "a missing backend fails instead of skipping, as one that is named does "
    about += "(the default where CI is true)"
    in_ci = os.environ.get("CI") == "true"
    name = "--backproof-require-backend"
    add(name, action="store_true", dest=REQUIRED, default=in_ci, help=about)


JUDGE = pytest.StashKey()


def _judge(config: pytest.Config):
    """Return the judge of this session, in a process that a backend in this one can't change."""
    from backproof.report.running.judge_apart import JudgeApart

    return config.stash.setdefault(JUDGE, JudgeApart())


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what names no backend, and one name for two of them, whose items would share it."""
    names = [_label(text) for text in config.getoption(BACKENDS) or ()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise pytest.UsageError(f"{twice} is given twice")


def _label(text: str) -> str:
    from backproof.backends.registry import chosen, label

    try:
        return label(chosen(text))
    except ValueError as error:
        raise pytest.UsageError(f"argument --backproof-backend: {error}") from None


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the judge."""
    if JUDGE in config.stash:
        config.stash[JUDGE].close()


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.Collector | None:
    """Collect case files: all below the folders of `backproof_cases`, and those that are named."""
    if file_path.suffix not in SUFFIXES:
        return None
    arguments = (argument.partition("::")[0] for argument in parent.config.args)
    named = str(file_path) in map(os.path.abspath, arguments)
    inside = any(file_path.is_relative_to(folder) for folder in parent.config.getini(FOLDERS))
    return CaseFile.from_parent(parent, path=file_path) if named or inside else None


class CaseFile(pytest.File):
    """One case: an item a dtype and backend, or a single failing one if the file is no case."""

    def collect(self):
        """Read the file. Nothing is imported here that a backend needs."""
        from backproof.backends.registry import DEFAULT, label
        from backproof.cases.reading.load import InvalidCase, load

        try:
            case = load(self.path)
        except InvalidCase as error:
            yield InvalidItem.from_parent(self, name="invalid", about=error)
            return
        backends = self.config.getoption(BACKENDS) or list(DEFAULT)
        for dtype in case.dtypes:
            for each in backends:
                name, about = f"{dtype}-{label(each)}", (case, dtype, each)
                yield CaseItem.from_parent(self, name=name, about=about)
            if dtype in case.tolerance and len(backends) > 1:
                name, about = f"{dtype}-pairs", (case, dtype, backends)
                yield PairsItem.from_parent(self, name=name, about=about)


class Refused(Exception):  # noqa: N818, it is told without a traceback
    """Why an item fails, a line each."""


class _Item(pytest.Item):
    def __init__(self, *, about: Any, **kwargs):
        super().__init__(**kwargs)
        self.about = about

    def repr_failure(self, excinfo: pytest.ExceptionInfo, style=None):
        """Return the judge's words; a traceback only where code broke, of the user's own alone."""
        from backproof.cases.reading.load import InvalidCase
        from backproof.report.judging.exceptions import EndedError, is_theirs

        if isinstance(excinfo.value, InvalidCase):
            return "\n".join(map(plain, excinfo.value.mistakes))
        if isinstance(excinfo.value, Refused):
            return "\n  ".join(map(plain, excinfo.value.args))
        if isinstance(excinfo.value, EndedError):
            excinfo = pytest.ExceptionInfo.from_exception(excinfo.value.__cause__)
        if theirs := [entry for entry in excinfo.traceback if is_theirs(str(entry.path))]:
            excinfo.traceback = type(excinfo.traceback)(theirs)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        """Return where the item comes from."""
        return self.path, None, f"{self.path.name} {self.name}"


class InvalidItem(_Item):
    """A file that is no case: fails with file:line:column: message."""

    def runtest(self) -> None:
        """Fail with the exception that it is about."""
        raise self.about


class CaseItem(_Item):
    """One run: fails with the first failure that the judge names."""

    def runtest(self) -> None:
        """Run and judge; an exception of the backend's own code is raised as it is.

        An unsupported case skips, and a missing backend too unless it is named or required.
        """
        from backproof.cases.problem import materialise
        from backproof.report.judging.outcome import attempt_openly

        case, dtype, name = self.about
        result = attempt_openly(materialise(case, dtype), name, _judge(self.config).of(case))
        required = self.config.getoption(REQUIRED) or self.config.getoption(BACKENDS)
        if result.verdict == "unsupported" or (result.verdict == "missing" and not required):
            pytest.skip(plain(f"{result.verdict}: {result.message}"))
        if result.verdict != "certified":
            what = f"{case.name} {dtype} {result.backend}: {result.verdict}"
            raise Refused(what, result.message)


class PairsItem(_Item):
    """The free runs beside each other: fails with the first pair outside the case's tolerance."""

    def runtest(self) -> None:
        """Run the backends and compare; one that can't finish fails or skips in its own item."""
        from backproof.cases.problem import materialise
        from backproof.report.judging.outcome import Comparison, attempt, pairs_of

        case, dtype, backends = self.about
        judging, problem = _judge(self.config).of(case), materialise(case, dtype)
        results = [attempt(problem, name, judging) for name in backends]
        pairs = list(pairs_of(Comparison(case, problem, results)))
        where = f"{case.name} {dtype}"
        none = "fewer than two backends finished: there is no pair"
        if not pairs and not self.config.getoption(REQUIRED):
            pytest.skip(none)
        if not pairs:
            raise Refused(f"{where}: {none}")
        for pair in pairs:
            if pair.status == "outside":
                names = "-".join(pair.names)
                raise Refused(f"{where} {names}: outside the case's tolerance", pair.drift)
