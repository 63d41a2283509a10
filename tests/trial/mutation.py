"""Mutation testing of what proves the rest: change the reference or the judge in one place, and a test must fail.

The changes are Cosmic Ray's (`cosmic_ray.operators`). A mutant is never written to disk: a forked process, which has
NumPy and pytest already loaded, takes it in place of the file when it imports the module, and runs the tests that
need neither PyTorch nor JAX until one fails. What survives is a gap in the tests, or explained in `docs/mutation.md`.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from difflib import unified_diff
from importlib.machinery import SourceFileLoader
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pytest
import scipy.special  # noqa: F401, loaded once, before the forks
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

import cases.load
import cases.problem  # noqa: F401, likewise

ROOT = Path(__file__).parents[2]
SCORE = 95
SECONDS, BYTES = 60, 2**33
EXPLAINED, SURVIVORS = ROOT / "docs" / "mutation.md", ROOT / "results" / "mutation.md"

# The tests that are to notice, those of the file itself first.
OF_REFERENCE = ["layers", "backprop", "proof", "sharing", "rounding", "judge"]
OF_JUDGE = ["judge", "published", "sharing"]
TESTS = {
    "reference/activations.py": ["layers", *OF_REFERENCE],
    "reference/backprop.py": ["backprop", *OF_REFERENCE],
    "reference/half.py": ["half", *OF_REFERENCE],
    "reference/layers.py": ["layers", *OF_REFERENCE],
    "reference/losses.py": ["layers", *OF_REFERENCE],
    "reference/optimizers.py": ["backprop", *OF_REFERENCE],
    "reference/proof.py": ["proof", *OF_REFERENCE],
    "reference/rounding.py": ["rounding", *OF_REFERENCE],
    "reference/schedules.py": ["sharing", *OF_REFERENCE],
    "report/checks.py": ["checks", *OF_JUDGE],
    "report/judge.py": OF_JUDGE,
    "report/structure.py": OF_JUDGE,
}

# Left out, since no test can miss them: an operator that floats don't have, an identity of numbers.
TRIVIAL = re.compile(r"(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(Bit\w+|.Shift)|Bit\w+_(?!Bit)|.Shift|(Eq|[LG]tE?)_Is(Not)?$")


class Mutant(NamedTuple):
    """A file with one change, and the function or class that it is in."""

    path: str
    definition: str
    source: str

    def diff(self) -> str:
        """What is changed, without line numbers: the text by which `docs/mutation.md` tells of it."""
        lines = (text.splitlines() for text in ((ROOT / self.path).read_text("utf-8"), self.source))
        changes = [line for line in unified_diff(*lines, n=0, lineterm="") if not line.startswith(("---", "+++", "@@"))]
        return "\n".join([f"{self.path}, {self.definition}", *changes]) + "\n"


def mutants(path: str) -> Iterator[Mutant]:
    """Every mutant of a file that is another program: neither the same one nor one that differs in annotations."""
    source = (ROOT / path).read_text("utf-8")
    seen = {_meaning(source)}
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments() or TRIVIAL.search(name):
            continue
        nodes = [node for node in ast_nodes(get_ast(source)) for _ in operator().mutation_positions(node)]
        for occurrence, node in enumerate(nodes):
            changed = mutate_code(source, operator(), occurrence)
            meaning = _meaning(changed)
            if meaning and meaning not in seen:
                seen.add(meaning)
                yield Mutant(path, ASTQuery(node).get_definition_name() or "module", changed)


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


def survives(mutant: Mutant) -> bool:
    """Whether all tests pass with the mutant."""
    child = os.fork()
    if not child:
        os._exit(_run_tests(mutant))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code in {pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED}:
        raise RuntimeError(f"pytest ran no tests: exit code {code}")
    return code == 0


def _run_tests(mutant: Mutant) -> int:
    """Run the tests of this process until one fails; too long a run, or one with too much memory, dies."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    right = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str):
        mine = Path(loader.path) == ROOT / mutant.path
        return compile(mutant.source, loader.path, "exec", dont_inherit=True) if mine else right(loader, name)

    SourceFileLoader.get_code = get_code
    tests = [f"tests/test_{name}.py" for name in dict.fromkeys(TESTS[mutant.path])]
    return pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", "not torch and not jax", *tests])


def main() -> int:
    """Run all mutants, write the survivors; 1 where too many survive, or one that is not explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.trial.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", default=list(TESTS), metavar="FILE", help="mutate these only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time (one a core)")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    for path in arguments.files:
        if not survives(Mutant(path, "", (ROOT / path).read_text("utf-8"))):
            sys.exit(f"the tests fail without any change of {path}: see `pytest`")
    every = [mutant for path in arguments.files for mutant in mutants(path)]
    alive = []
    with get_context("fork").Pool(arguments.jobs) as pool:
        for number, survived in enumerate(pool.imap(survives, every), start=1):
            if survived:
                alive.append(every[number - 1])
                print(alive[-1].diff(), flush=True)
            if number % 100 == 0:
                print(f"{number:,} of {len(every):,} mutants, {len(alive)} alive", flush=True)
    return report(every, alive)


def report(every: list[Mutant], alive: list[Mutant]) -> int:
    """Print the score and write the survivors, those that are not explained first; the exit code."""
    of_file, living = Counter(mutant.path for mutant in every), Counter(mutant.path for mutant in alive)
    for path, number in of_file.items():
        print(f"{path:24} {number - living[path]:5} of {number:5} killed")
    explained = EXPLAINED.read_text("utf-8") if EXPLAINED.exists() else ""
    diffs = sorted({mutant.diff() for mutant in alive}, key=lambda diff: diff in explained)
    unexplained = sum(diff not in explained for diff in diffs)
    SURVIVORS.parent.mkdir(exist_ok=True)
    SURVIVORS.write_text("".join(f"```diff\n{diff}```\n\n" for diff in diffs), "utf-8")
    killed, score = len(every) - len(alive), 100 * (1 - len(alive) / len(every))
    print(f"{len(alive)} survive, {unexplained} of them unexplained; they are in {SURVIVORS.relative_to(ROOT)}.")
    print(f"{killed:,} of {len(every):,} mutants are killed: {score:.1f} %")
    return int(score < SCORE or unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
