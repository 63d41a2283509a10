"""Where the wrong elements of a tensor lie, in words."""

import numpy as np
import pytest

from backproof.reference.numbers.bounded import exact
from backproof.reference.numbers.precision import precision_of
from backproof.report.judging.extent import extent, shared_part
from backproof.report.judging.operations import Check


def check(phase: str, *wrong: tuple, shape: tuple = (6, 8)) -> Check:
    """A tensor whose elements at these places are wrong."""
    truth, actual = np.zeros((1, *shape)), np.zeros((1, *shape))
    for place in wrong:
        actual[(0, *place)] = 1
    return Check(phase, "x", actual, exact(truth, precision_of(np.dtype(np.float64))), "")


@pytest.mark.parametrize(
    ("phase", "wrong", "told"),
    [
        ("cotangent", [(slice(None), slice(5, None))], ", all in the last 3 of 8 units, 5 to 7"),
        ("cotangent", [(slice(0, 2),)], ", all in the first 2 of 6 samples, 0 to 1"),
        ("gradient", [(slice(2, 4),)], ", all in the 2 of 6 rows, 2 to 3"),
        ("gradient", [(slice(None), slice(1, None, 2))], ", all in every second column, from 1 on"),
        ("gradient", [(3, slice(None))], ", all in row 3"),
        ("gradient", [(0,), (5,)], ", all in the first 1 and the last 1 of 6 rows"),
        ("gradient", [(0,), (5,), (slice(None), 0), (slice(None), 7)], ", all at the border"),
        ("gradient", [(slice(None),)], ""),
        ("gradient", [(2, 3)], ""),
        ("gradient", [(0, 0), (2, 3), (5, 1), (1, 7), (3, 5), (4, 4), (1, 2), (1, 6)], ""),
    ],
)
def test_the_part_that_is_wrong(phase, wrong, told):
    assert shared_part(check(phase, *wrong)) == told


def test_an_axis_of_many_is_named():
    wrong = check("value", (slice(None), slice(None), slice(3, None)), shape=(2, 3, 5, 4))
    assert shared_part(wrong) == ", all in the last 2 of 5 positions of axis 2, 3 to 4"


def test_how_many_are_wrong():
    assert extent(check("gradient", (2,))) == ("8 of 48 elements are wrong", ", all in row 2")
    assert extent(check("gradient", (2, 3))) == ("1 of 48 elements is wrong", "")
    assert extent(check("gradient", (0,), shape=(1,))) == ("", "")
