"""Results become bytes and come back as they were; what is of another kind does not."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from ml_dtypes import bfloat16

from backproof.backends import numpy_reference
from backproof.report.judging.outcome import Result, judged
from backproof.report.running.stored import NotStoredError, dump, load, opened, returned_by, sealed


class Pair(NamedTuple):
    names: tuple[str, ...]
    sizes: dict[int, float]


@dataclass(frozen=True)
class Thing:
    number: float
    which: Literal["one", "two"]
    pairs: list[Pair]
    rest: bytes | None = None


THINGS = [
    (None, Any), (True, bool), (3, int), (math.inf, float), (-0.0, float), (1e-308, float), ("\udc80 é", str),
    (b"\x00\xff", bytes), ([1, 2], list[int]), ((1, "a"), tuple[int, str]), ({"a": 1.5}, dict[str, float]),
    (Thing(0.1, "two", [Pair(("a", "b"), {3: 0.5})], b"x"), Thing), (None, Thing | None), (3, str | int),
]  # fmt: skip


@pytest.mark.parametrize(("thing", "kind"), THINGS, ids=str)
def test_a_thing_comes_back(thing, kind):
    assert repr(load(dump(thing), kind)) == repr(thing)


def test_numbers_of_numpy_become_python_s():
    assert load(dump(Pair((np.str_("a"),), {np.int64(1): np.float64(0.1)})), Pair) == Pair(("a",), {1: 0.1})
    assert math.isnan(load(dump(math.nan), float))


ARRAYS = [
    np.array([0.1, np.nan, np.inf]), np.zeros((3, 0, 2), np.float32), np.array(1.5), np.array([["1e3", "0.50"]]),
    np.array([1, 2], bfloat16), np.arange(6, dtype=">i2").reshape(2, 3).T, np.array([True]), np.zeros(0),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_an_array_comes_back(array):
    found = load(dump(array), np.ndarray)
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


WRONG = [
    (b"", str), (b"{", str), (b"[" * 100_000, Any), (b"\xff", str), (b"3", str), (b"true", int), (b"1.5", int),
    (b'"x"', float), (b"[1]", tuple[int, str]), (b"[[1]]", dict[int, int]), (b'{"names": []}', Pair),
    (dump({"a": 1}), list[int]), (dump("three"), Literal["one", "two"]), (b'"no base 64"', bytes),
    (b'{"number": 1, "which": "one", "pairs": [], "rest": null, "more": 1}', Thing),
    (b'{"dtype": "O", "shape": [1], "bytes": "AAAAAAAAAAA="}', np.ndarray),
    (b'{"dtype": "<f8", "shape": [2], "bytes": "AAAAAAAAAAA="}', np.ndarray), (b"[]", np.ndarray), (b"3", Thing | None),
]  # fmt: skip


@pytest.mark.parametrize(("content", "kind"), WRONG, ids=lambda value: str(value)[:40])
def test_what_is_of_another_kind_is_refused(content, kind):
    with pytest.raises(NotStoredError):
        load(content, kind)


def test_what_has_no_form_is_refused():
    with pytest.raises(TypeError, match="a set is not stored"):
        dump({1})


def test_a_seal_holds():
    content = sealed(b"content")
    assert opened(content) == b"content"
    for damaged in (b"", content[:-1], content + b"x", b"x" + content[1:], content[:20]):
        with pytest.raises(NotStoredError):
            opened(damaged)


def test_what_a_function_returns():
    assert returned_by(test_what_has_no_form_is_refused) is Any
    assert returned_by(judged) is Result
    assert returned_by(int) is Any


def test_a_judgement_comes_back(problem_of):
    """With its printed numbers, its findings and its arrays."""
    entry = {"tensor": "loss", "step": 3, "value": "1.50", "source": "a book", "wrong": "a slip"}
    problem = problem_of(published=[entry])
    result = judged(problem, "numpy", numpy_reference.run(problem))
    result.trajectory = None
    found = load(dump(result), Result)
    assert repr(found.judgement.published[0].entry) == repr(problem.published[0])
    assert found.judgement.published[0].actual == result.judgement.published[0].actual
    assert found.judgement.budgets.tolist() == result.judgement.budgets.tolist()
    assert (found.judgement.ledger, found.seconds) == (result.judgement.ledger, result.seconds)
    assert found.judgement.where.place == result.judgement.where.place
