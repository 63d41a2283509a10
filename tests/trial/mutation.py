"""Mutation testing of what proves the rest: change the reference or the judge in one place, and a test must fail.

The changes are Cosmic Ray's (`cosmic_ray.operators`). A mutant is never written to disk: a forked process, which has
the libraries already loaded, takes it in place of the file when it imports the module, and runs tests until one fails:
first those that killed the last mutants of the same function, then all but those of PyTorch's and JAX's backends.
What survives is a gap in the tests, or explained in `survivors.md`. What is found is kept: a run that is stopped goes
on where it was, and where a source or a test has changed, a mutant meets the test first that killed it before.
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import re
import resource
import sys
from collections import deque
from collections.abc import Iterator
from difflib import unified_diff
from functools import cache
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from itertools import chain, groupby
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import NamedTuple

import hypothesis  # noqa: F401, loaded once, before the forks
import pytest
import scipy.special  # noqa: F401, likewise
import torch  # noqa: F401, likewise
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

import backproof.cases.problem
import backproof.cases.reading.load  # noqa: F401, likewise
from backproof.report.running.cache import sources
from tests.trial import mutation_page

ROOT = Path(__file__).parents[2]
SCORE = 95
SECONDS, BYTES = 15, 2**34
TOGETHER, REMEMBERED = 30, 4
RAN_NONE = {pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED}
FOUND = ROOT / ".hypothesis" / "mutation.tsv"
EXPLAINED, SURVIVORS = Path(__file__).with_name("survivors.md"), ROOT / "results" / "mutation.md"

# The tests that are to notice, those of the file itself first.
OF_REFERENCE = ["oracle", "layers", "training", "balls", "sharing", "bounded", "sharpness", "judge"]
OF_JUDGE = ["judge", "records", "published", "sharing", "outcome"]
TESTS = {
    "reference/formulas/activations.py": [*OF_REFERENCE, "half", "activations"],
    "reference/training.py": ["training", *OF_REFERENCE],
    "reference/exact_run.py": ["balls", *OF_REFERENCE],
    "reference/formulas/layers.py": ["layers", *OF_REFERENCE],
    "reference/formulas/losses.py": [*OF_REFERENCE, "losses"],
    "reference/formulas/optimizers.py": ["optimizers", "forms", *OF_REFERENCE],
    "reference/numbers/balls.py": ["balls", "moves", *OF_REFERENCE],
    "reference/numbers/bounded.py": ["sharpness", "bounded", "moves", *OF_REFERENCE, "half"],
    "reference/numbers/contraction.py": ["contraction"],
    "reference/numbers/functions.py": ["sharpness", "bounded", *OF_REFERENCE, "half"],
    "reference/numbers/grids.py": ["kinks", "moves", *OF_REFERENCE],
    "reference/numbers/half.py": ["half", "moves", *OF_REFERENCE],
    "reference/numbers/kinks.py": ["kinks", *OF_REFERENCE],
    "reference/numbers/moves.py": ["moves", *OF_REFERENCE],
    "reference/numbers/precision.py": ["sharpness", "bounded", *OF_REFERENCE, "half"],
    "reference/numbers/protocol.py": ["forms", "sums", *OF_REFERENCE, "half"],
    "reference/numbers/rules.py": ["sharpness", "bounded", "sums", *OF_REFERENCE, "half"],
    "reference/numbers/sides.py": ["kinks", "sums", *OF_REFERENCE],
    "reference/numbers/sums.py": ["sums", *OF_REFERENCE],
    "reference/numbers/tape.py": ["tape"],
    "reference/formulas/added.py": ["added"],
    "reference/formulas/combining.py": ["layers", "sharing", *OF_REFERENCE],
    "reference/formulas/dense.py": ["layers", *OF_REFERENCE],
    "reference/formulas/positions.py": ["layers", *OF_REFERENCE],
    "reference/formulas/schedules.py": ["schedules", "sharing", *OF_REFERENCE],
    "report/judging/operations.py": ["operations", *OF_JUDGE, "schedules"],
    "report/judging/following.py": ["following", *OF_JUDGE],
    "report/judging/equality.py": OF_JUDGE,
    "report/judging/judge.py": [*OF_JUDGE, "kinks", "following"],
    "report/judging/kinks.py": ["kinks"],
    "report/judging/structure.py": OF_JUDGE,
}

# Left out, since no test can miss them: an operator that floats don't have, an identity of numbers.
TRIVIAL = re.compile(r"(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(Bit\w+|.Shift)|Bit\w+_(?!Bit)|.Shift|(Eq|[LG]tE?)_Is(Not)?$")
ORDER = re.compile(r"_[LG]tE?$")


class Mutant(NamedTuple):
    """A file with one change, and the function or class that it is in; without one of these, nothing is changed."""

    path: str
    definition: str
    source: str

    def diff(self) -> str:
        """What is changed, without line numbers: the text by which `survivors.md` tells of it."""
        lines = (text.splitlines() for text in ((ROOT / self.path).read_text("utf-8"), self.source))
        changes = [line for line in unified_diff(*lines, n=0, lineterm="") if not line.startswith(("---", "+++", "@@"))]
        return "\n".join([f"{self.path}, {self.definition}", *changes]) + "\n"


# ---------------------------------------------------------------- what is changed


def mutants(path: str) -> list[Mutant]:
    """Every mutant of a file that is another program: neither the same one nor one that differs in annotations."""
    source = (ROOT / path).read_text("utf-8")
    seen, found = {_meaning(source)}, []
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments() or TRIVIAL.search(name):
            continue
        nodes = [node for node in ast_nodes(get_ast(source)) for _ in operator().mutation_positions(node)]
        for occurrence, node in enumerate(nodes):
            if ORDER.search(name) and _compares_a_word(node):
                continue
            changed = mutate_code(source, operator(), occurrence)
            meaning = _meaning(changed)
            if meaning and meaning not in seen:
                seen.add(meaning)
                found.append(Mutant(path, ASTQuery(node).get_definition_name() or "module", changed))
    return found


def _compares_a_word(node) -> bool:
    """The schema's words, such as "mean" and "sum", have no order: nobody means `<`."""
    return any(child.type == "string" for child in node.children)


def _meaning(source: str) -> str:
    """The syntax without annotations, which nothing reads when it runs; empty where it is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        for annotation in ("annotation", "returns"):
            if getattr(node, annotation, None):
                setattr(node, annotation, ast.Constant(None))
    return ast.dump(tree)


# ---------------------------------------------------------------- what notices


class Progress:
    """A pytest plugin: tells the pipe what is about to run, and lets no test run too long."""

    def __init__(self, pipe: int):
        self.pipe = pipe

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Of a test, which has as many seconds of the processor as any other."""
        os.write(self.pipe, f"{nodeid}\n".encode())
        resource.setrlimit(resource.RLIMIT_CPU, (int(process_time()) + SECONDS, resource.RLIM_INFINITY))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Of a file that could not be imported."""
        if report.failed:
            os.write(self.pipe, f"{report.nodeid}\n".encode())


def killer_of(mutant: Mutant, suspects: list[str]) -> str | None:
    """The test that fails with the mutant, the suspects first; "the process" where none had begun; None: all pass."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os._exit(_run_tests(mutant, suspects, writing))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        begun = pipe.read().decode().splitlines()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code in RAN_NONE:
        raise RuntimeError(f"pytest ran no tests: exit code {code}")
    return None if code == 0 else (begun or ["the process"])[-1]


def _run_tests(mutant: Mutant, suspects: list[str], pipe: int) -> int:
    """Run the tests of this process until one fails; too long a test, or one with too much memory, dies."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    right = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str):
        mine = mutant.definition and Path(loader.path) == ROOT / mutant.path
        return compile(mutant.source, loader.path, "exec", dont_inherit=True) if mine else right(loader, name)

    SourceFileLoader.get_code = get_code
    names = TESTS[mutant.path] if mutant.definition else chain(*TESTS.values())
    every = [path for name in dict.fromkeys(names) for path in _tests(name)]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    options += ["-k", "not torch and not jax"]
    if suspects and (code := pytest.main([*options, *suspects], [Progress(pipe)])) not in {0, *RAN_NONE}:
        return code
    return pytest.main([*options, *every], [Progress(pipe)])


def _tests(name: str) -> list[str]:
    """The files of the tests of this name, in whatever room they are."""
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(f"tests/**/test_{name}.py"))


def killers(together: list[tuple[Mutant, str]]) -> list[str]:
    """Of mutants of one function, each with its killer of before, where there is one; empty where all tests pass."""
    suspects, found = deque(maxlen=REMEMBERED), []
    for mutant, before in together:
        killer = killer_of(mutant, [before] if before else [*suspects]) or ""
        found.append(killer)
        if "::" in killer:
            if killer in suspects:
                suspects.remove(killer)
            suspects.appendleft(killer)
    return found


# ---------------------------------------------------------------- what was found before


class Found:
    """Killers of mutants in a file, each with the digest of what it was found with."""

    def __init__(self, path: Path):
        self.path = path
        self.sources = sources("backproof.cases.reading.load") + sources("backproof.report.judging.outcome")
        self.killers: dict[str, list[str]] = {}
        self.standing: set[str] = set()
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            name, killer, stands = line.split("\t")
            self.killers.setdefault(name, []).append(killer)
            self.standing.add(stands)

    def before(self, mutant: Mutant) -> list[str]:
        """The killers that it has had, the last one first, empty where it had none."""
        return self.killers.get(_name(mutant), [])[::-1]

    def now(self, mutant: Mutant) -> str | None:
        """Its killer, where nothing has changed since; None where that is to be found out."""
        return next((killer for killer in self.before(mutant) if self._stands(mutant, killer) in self.standing), None)

    def put(self, mutant: Mutant, killer: str) -> None:
        """Add one."""
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{_name(mutant)}\t{killer}\t{self._stands(mutant, killer)}\n")

    def _stands(self, mutant: Mutant, killer: str) -> str:
        return _digest(self.sources, mutant.path, mutant.source, _evidence(mutant.path, killer))


@cache
def _name(mutant: Mutant) -> str:
    return _digest(mutant.diff())


@cache
def _evidence(path: str, killer: str) -> str:
    """The tests that this stands on: the file of the one that fails, or those that may, and what they import."""
    name = killer.partition("::")[0]
    if name.endswith(".py"):
        return (ROOT / name).read_text("utf-8") if (ROOT / name).exists() else ""
    run = {f"test_{name}.py" for name in TESTS[path]}
    every = sorted(ROOT.glob("tests/**/*.py"))
    helpers = (file for file in every if not file.name.startswith("test_") and file != Path(__file__))
    return "".join(file.read_text("utf-8") for file in [*(file for file in every if file.name in run), *helpers])


def _digest(*texts: str) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()


# ---------------------------------------------------------------- all of it


def main() -> int:
    """Run all mutants, write the survivors; 1 where too many survive, or one that is not explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.trial.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", default=list(TESTS), metavar="FILE", help="mutate these only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time (one a core)")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    found = Found(FOUND)
    _preload()
    with get_context("fork").Pool(arguments.jobs) as pool:
        unchanged = pool.apply_async(killer_of, (Mutant("", "", ""), []))
        every = [mutant for of_file in pool.imap(mutants, arguments.files) for mutant in of_file]
        result = {mutant: killer for mutant in every if (killer := found.now(mutant)) is not None}
        print(f"{len(every):,} mutants, of which {len(result):,} have been tried before", flush=True)
        if killer := unchanged.get():
            sys.exit(f"{killer} fails without any change: see `pytest`")
        groups = list(_together([mutant for mutant in every if mutant not in result]))
        todo = [[(mutant, next(filter(None, found.before(mutant)), "")) for mutant in group] for group in groups]
        for group, of_group in zip(groups, pool.imap(killers, todo), strict=True):
            for mutant, killer in zip(group, of_group, strict=True):
                result[mutant] = killer
                found.put(mutant, killer)
                if not killer:
                    print(mutant.diff(), flush=True)
            print(f"{len(result):,} of {len(every):,} mutants, {[*result.values()].count('')} alive", flush=True)
    return report(every, [mutant for mutant in every if not result[mutant]])


def _preload() -> None:
    """Have pytest's plugins loaded before the forks, and nothing for their garbage collectors to go through."""
    pytest.main(["--version"])
    gc.collect()
    gc.freeze()


def _together(todo: list[Mutant]) -> Iterator[list[Mutant]]:
    """Some mutants of one function at a time."""
    ordered = sorted(todo, key=lambda mutant: (mutant.path, mutant.definition))
    for _, of_function in groupby(ordered, key=lambda mutant: (mutant.path, mutant.definition)):
        group = [*of_function]
        yield from (group[start : start + TOGETHER] for start in range(0, len(group), TOGETHER))


def report(every: list[Mutant], alive: list[Mutant]) -> int:
    """Print the score, write the survivors, those that are not explained first, and the page; the exit code."""
    found = mutation_page.scores(every, alive)
    for path, noticed, changes in found:
        print(f"{path:24} {noticed:5} of {changes:5} killed")
    explained = set(re.findall(r"```diff\n(.*?)```", EXPLAINED.read_text("utf-8"), re.DOTALL))
    diffs = sorted({mutant.diff() for mutant in alive}, key=lambda diff: diff in explained)
    unexplained = sum(diff not in explained for diff in diffs)
    outdated = sum(diff.partition(",")[0] in {score.path for score in found} for diff in explained.difference(diffs))
    SURVIVORS.parent.mkdir(exist_ok=True)
    SURVIVORS.write_text("".join(f"```diff\n{diff}```\n\n" for diff in diffs), "utf-8")
    print(f"{len(alive)} survive, {unexplained} of them unexplained; they are in {SURVIVORS.relative_to(ROOT)}.")
    if outdated:
        print(f"{outdated} explanations in {EXPLAINED.relative_to(ROOT)} are of changes that do not survive.")
    killed, score = len(every) - len(alive), 100 * (1 - len(alive) / len(every))
    print(f"{killed:,} of {len(every):,} mutants are killed: {score:.1f} %")
    failed = score < SCORE or unexplained > 0 or outdated > 0
    if not failed and {score.path for score in found} == TESTS.keys():
        mutation_page.write(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
