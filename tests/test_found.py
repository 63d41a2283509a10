"""Small inputs on which the product once said something wrong, or too little; what it says of each today.

The cases and functions are in `tests/found/`. Each row says which verdict is right, at which place the first wrong
number is, and which words lead to the fault.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

from cases.load import load
from cases.problem import materialise
from report.run import Result, attempt

FOUND = Path(__file__).parent / "found"


class Found(NamedTuple):
    """A case, a function of somebody's code, and what is right to say of it.

    Attributes:
        case: the name of the YAML file.
        code: `FILE:FUNCTION`.
        verdict: in every dtype of the case, or by dtype.
        words: what must stand in the message.
    """

    case: str
    code: str
    verdict: str | dict[str, str]
    words: tuple[str, ...] = ()


def said(found: Found, dtype: str) -> Result:
    """What comes of the code on that case."""
    file, function = found.code.split(":")
    problem = materialise(load(FOUND / f"{found.case}.yaml"), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # somebody's code may warn
        return attempt(problem, f"mine={FOUND / file}.py:{function}")


# ---------------------------------------------------------------- kinks, and what may be claimed

KINKS: list[Found] = []

# ---------------------------------------------------------------- blame

BLAME: list[Found] = []

# ---------------------------------------------------------------- known mistakes

HINTS: list[Found] = []

# ---------------------------------------------------------------- the door for one's own code

DOOR: list[Found] = []

# ---------------------------------------------------------------- right programs

RIGHT = [
    Found("r13", "net:right", "certified"),
    Found("r23", "opt:right", "certified"),
    Found("r27", "net:schedule_right", "certified"),
    Found("r43", "r48:jax_numpy_64", "certified"),
    Found("r45", "r45:right", "certified"),
    Found("r51", "r51_layers:right", "certified"),
    Found("u1", "u1:right", "certified"),
]


ROWS = [*KINKS, *BLAME, *HINTS, *DOOR, *RIGHT]


@pytest.mark.parametrize("found", ROWS, ids=lambda found: f"{found.case}-{found.code}")
def test_found(found):
    """The verdict is right in every dtype of the case, and the message leads to the fault."""
    for dtype in load(FOUND / f"{found.case}.yaml").dtypes:
        result = said(found, dtype)
        right = found.verdict if isinstance(found.verdict, str) else found.verdict[dtype]
        assert result.verdict == right, f"{dtype}: {result.message}"
        for words in found.words:
            assert words in result.message
