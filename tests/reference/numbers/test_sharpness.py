"""Every rule of the bounds is as narrow as `docs/tolerance.md` says, and no narrower."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from ml_dtypes import bfloat16, finfo
from scipy.special import erfc, expit

from backproof.reference.numbers.precision import UNIT_ROUNDOFF_OF_BALLS, Precision, precision_of
from backproof.reference.numbers.protocol import SQRT_HALF, by_any_form
from tests.trial.bounds import DTYPES, SMALLEST_NORMAL, WIDE_DTYPES, budgets, given, uncertain

U, TINY = 2.0**-24 + 2 * 2.0**-53, SMALLEST_NORMAL  # of float32 beside float64
EXACT_VALUES = Precision(np.dtype(np.float16), lambda values: values.astype(np.float64), 0.0)


def rounded(value: float, inherited: float, roundings: float = 1) -> float:
    """The bound of a result: what it inherits, its roundings, and the smallest normal number."""
    return inherited + roundings * U * (abs(value) + inherited) + TINY


def total(magnitude: float, n: int) -> float:
    """The bound of a sum of n terms: γ(n) Σ|terms|, and n flushed ones."""
    return n * U / (1 - n * U) * magnitude + n * TINY


def derivative_of_sigmoid(x: float) -> float:
    return np.exp(-x) / (1 + np.exp(-x)) ** 2


def derivative_of_tanh(x: float) -> float:
    return 1 - np.tanh(x) ** 2


ROW, ONES = np.array([[2.0, -3.0, 4.0]]), np.ones((3, 1))
SHARE = rounded(0.75, 0)  # the bound of that constant
SHARP = {
    "sum": (lambda: uncertain(5, 0.25) + uncertain(-3, 0.5), rounded(2, 0.75)),
    "difference": (lambda: uncertain(5, 0.25) - uncertain(3, 0.5), rounded(2, 0.75)),
    "product": (lambda: uncertain(5, 0.25) * uncertain(-3, 0.5), rounded(15, 5 * 0.5 + 0.25 * 3.5 + 2 * TINY)),
    "square": (lambda: np.square(uncertain(5, 0.25)), rounded(25, 5 * 0.25 + 0.25 * 5.25 + 2 * TINY)),
    "product with 0": (lambda: given([0.0]) * uncertain(3, 0.5), 0.0),
    "product with 0 behind": (lambda: given([3.0]) * given([0.0]), 0.0),
    "product of zeros": (lambda: given([0.0]) * given([0.0]), 0.0),
    "product of small numbers": (lambda: given([TINY]) * given([0.5]), rounded(TINY / 2, 2 * TINY)),
    "product with what may be 0": (lambda: uncertain(0, 0.25) * given([3.0]), rounded(0, 0.75 + 2 * TINY)),
    "quotient": (lambda: uncertain(6, 0.3) / uncertain(2, 0.1), rounded(3, (0.3 + 3 * 0.1) / 1.9, 2)),
    "quotient by a huge number": (
        lambda: uncertain(1e30, 2e29) / given([1e38]),
        rounded(1e-8, 2e29 / float(np.float32(1e38)) + 1.2e30 * TINY, 2),
    ),
    "constant": (lambda: given([1.0]) * 0.1, rounded(0.1, rounded(0.1, 0) + 2 * TINY)),
    "reduction": (lambda: given(ROW).sum(axis=-1), total(9, 3)),
    "matrix product": (lambda: given(ROW) @ given(ONES), total(9, 3)),
    "matrix product and a bias": (
        lambda: (given(ROW) @ given(ONES)) + uncertain(-3, 0.5),
        total(9, 3) + 0.5 + total(9 + 3.5, 4),
    ),
    "a bias and a matrix product": (
        lambda: uncertain(-3, 0.5) + (given(ROW) @ given(ONES)),
        0.5 + total(9, 3) + total(3.5 + 9, 4),
    ),
    "two sums": (
        lambda: given(ROW).sum(axis=-1) + given([[1.0, 1.0]]).sum(axis=-1),
        total(9, 3) + total(2, 2) + total(11, 5),
    ),
    "elementary": (lambda: np.tanh(given([1.0])), rounded(np.tanh(1), 0, 2 * 8)),
    "sigmoid": (
        lambda: expit(uncertain(-2, 0.001)),
        rounded(expit(-2), 0.001 * derivative_of_sigmoid(2 - 0.001), 16),
    ),
    "tanh": (lambda: np.tanh(uncertain(2, 0.001)), rounded(np.tanh(2), 0.001 * derivative_of_tanh(2 - 0.001), 16)),
    "sigmoid where it may be steepest": (lambda: expit(uncertain(0.1, 0.5)), rounded(expit(0.1), 0.5 / 4, 16)),
    "tanh where it may be steepest": (lambda: np.tanh(uncertain(-0.1, 0.5)), rounded(np.tanh(0.1), 0.5, 16)),
    "exp": (lambda: np.exp(uncertain(2, 0.25)), rounded(np.exp(2), np.exp(2.25) - np.exp(2), 16)),
    "exp of anything far below 0": (lambda: np.exp(uncertain(-1e20, 1e4)), TINY),
    "expm1": (lambda: np.expm1(uncertain(2, 0.25)), rounded(np.expm1(2), np.exp(2.25) - np.exp(2), 16)),
    "log": (lambda: np.log(uncertain(5, 0.25)), rounded(np.log(5), np.log(5 / 4.75), 16)),
    "log of what may be 0": (lambda: np.log(uncertain(5, 5)), np.inf),
    "log1p": (lambda: np.log1p(uncertain(4, 0.25)), rounded(np.log(5), np.log(5 / 4.75), 16)),
    "root": (lambda: np.sqrt(uncertain(5, 0.25)), rounded(np.sqrt(5), np.sqrt(5) - np.sqrt(4.75), 16)),
    "root of what may be 0": (lambda: np.sqrt(uncertain(4, 4)), rounded(2, 2, 16)),
    "root of 0 or more": (lambda: np.sqrt(uncertain(0, 4)), rounded(0, 2, 16)),
    "erfc": (
        lambda: erfc(uncertain(-0.7, 0.2)),
        rounded(float(erfc(-0.7)), 0.2 * 2 / np.sqrt(np.pi) * np.exp(-0.25), 16),
    ),
    "erfc on the far side": (lambda: erfc(given([3.0])), rounded(erfc(3.0), np.expm1(9 * U) * erfc(3.0), 16)),
    "erfc where it may be steepest": (
        lambda: erfc(uncertain(0.1, 0.2)),
        rounded(erfc(0.1), 0.2 * 2 / np.sqrt(np.pi) + np.expm1(0.01 * U) * erfc(0.1), 16),
    ),
    "absolute value": (lambda: np.abs(uncertain(-3, 0.5)), 0.5),
    "smaller of two": (lambda: np.minimum(uncertain(-3, 0.5), uncertain(1, 0.75)), 0.5),
    "smaller of two that are close": (lambda: np.minimum(uncertain(1, 0.5), uncertain(2, 0.75)), 0.75),
    "root of a difference that is 0": (lambda: np.sqrt(given([3.0]) - 3), 0),
    "sum with nothing": (lambda: given([0.0]) + uncertain(3, 0.5), 0.5),
    "difference from nothing": (lambda: given([0.0]) - uncertain(3, 0.5), 0.5),
    "sum with what may be nothing": (lambda: uncertain(0, 0.25) + uncertain(3, 0.5), rounded(3, 0.75)),
    "the farthest form": (
        lambda: by_any_form(given([1.0]), lambda: uncertain(2, 0.5), lambda: uncertain(2, 0.75)),
        0.75,
    ),
    "root of a difference that may be below 0": (lambda: np.sqrt(uncertain(3, 0.5) - 3), np.inf),
    "whole power": (
        lambda: uncertain(0.5, 0.001) ** 3,
        rounded(0.125, 0.125 * ((1 + 0.002) ** 3 * (1 + U) ** 2 - 1)),
    ),
    "whole power below 0": (
        lambda: uncertain(0.5, 0.001) ** -3,
        rounded(8, 8 * (0.998**-3 * (1 + U) ** 3 - 1)),
    ),
    "power of 0": (lambda: given([0.0]) ** 2, rounded(0, 0)),
    "power 1": (lambda: uncertain(0.5, 0.125) ** 1, rounded(0.5, 0.125)),
    "fractional power above 1": (
        lambda: uncertain(0.5, 0.125) ** given([1.5]),
        rounded(0.5**1.5, 0.5**1.5 * (1.25**1.5 * (1 + U) ** 16 - 1)),
    ),
    "power 0": (lambda: uncertain(0.5, 0.001) ** 0, rounded(1, 0)),
    "fractional power": (
        lambda: uncertain(0.5, 0.125) ** 0.75,
        rounded(0.5**0.75, 0.5**0.75 * (0.75**-0.75 * np.exp(SHARE * np.log(2 / 0.75)) * (1 + U) ** 16 - 1)),
    ),
    "power of an uncertain number": (
        lambda: given([0.5]) ** uncertain(3, 0.25),
        rounded(0.125, 0.125 * (2**0.25 * (1 + U) ** 16 - 1)),
    ),
    "power that overflows": (lambda: given([1e20]) ** 2, np.inf),
    "power of what may be 0": (lambda: uncertain(0.5, 0.5) ** 0.5, np.inf),
    "power of what may be below 0": (lambda: uncertain(0.5, 1) ** 0.5, np.inf),
    "flushed with a factor": (lambda: given([TINY]).flushed_with(0.25), 4 * TINY),
    "largest of a row": (lambda: np.maximum.reduce(given(ROW), axis=-1), 0),
    "largest of uncertain ones": (lambda: np.maximum.reduce(uncertain(2, 0.5)[None], axis=0), 0.5),
    "difference of equals": (lambda: given([1.0]) - 1, 0),
    "sum that cancels": (lambda: given([-3.0]) + 3, 0),
    "difference of what may be equal": (lambda: uncertain(1, 0.5) - 1, rounded(0, 0.5)),
    "a number that no float holds": (
        lambda: SQRT_HALF * given([1.0]),
        rounded(0.5**0.5, rounded(0.5**0.5, 0) + 2 * TINY),
    ),
    "sigmoid of anything": (lambda: expit(uncertain(3, 1e6)), rounded(expit(3), expit(3), 16)),
    "sigmoid of anything below 0": (lambda: expit(uncertain(-3, 1e6)), rounded(expit(-3), expit(3), 16)),
    "tanh of anything": (lambda: np.tanh(uncertain(-3, 1e6)), rounded(np.tanh(3), 1 + np.tanh(3), 16)),
}


@pytest.mark.parametrize(("result", "bound"), SHARP.values(), ids=SHARP)
def test_a_bound_is_no_wider_than_its_rule(result, bound):
    """Of operands that are uncertain themselves too; each rule as `docs/tolerance.md` states it."""
    np.testing.assert_allclose(result().bound.ravel(), [bound], rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
@pytest.mark.parametrize("summed", [lambda x: x.sum(axis=-1), lambda x: x @ given(np.ones((3, 1)), x.precision.dtype)])
def test_a_16_bit_sum_is_rounded_once(summed, dtype):
    """γ(3) of float32, a rounding of the dtype; a sum that rounds in the middle is refused."""
    precision, u = precision_of(np.dtype(dtype)), float(finfo(dtype).eps) / 2 + 2 * 2.0**-53
    assert precision.accumulator.dtype == np.float32
    in_float32 = total(9, 3)
    once = in_float32 + u * (3 + in_float32) + precision.smallest
    np.testing.assert_allclose(summed(given(ROW, dtype)).bound.ravel(), [once], rtol=1e-13)
    ulp = 2 * u
    terms = np.array([[1, 0.75 * ulp, 0.75 * ulp]], dtype)
    assert budgets(summed(given(terms, dtype)), np.array([1 + ulp])).max() <= 1
    assert budgets(summed(given(terms, dtype)), np.array([1 + 2 * ulp])).max() <= 1
    assert budgets(summed(given(terms, dtype)), np.array([1.0])).max() > 1


@pytest.mark.parametrize(
    ("dtype", "wider_u"),
    [
        (np.float16, 2.0**-53), (bfloat16, 2.0**-53), (np.float32, 2.0**-53),
        (np.float64, min(float(np.finfo(np.longdouble).eps) / 2, UNIT_ROUNDOFF_OF_BALLS)),
    ],
)  # fmt: skip
def test_the_unit_roundoff_is_half_the_distance_to_the_next_number(dtype, wider_u):
    """And on top twice that of the values, which is half the distance to their next number, or that of balls."""
    precision = precision_of(np.dtype(dtype))
    assert precision.wider_u == wider_u
    assert precision.u == float(np.nextafter(dtype(1), dtype(2)) - 1) / 2 + 2 * wider_u


def test_a_precision_does_not_change():
    """What is derived from it is kept."""
    with pytest.raises(FrozenInstanceError):
        precision_of(np.dtype(np.float32)).wider_u = 0.0


@pytest.mark.parametrize(("n", "gamma"), [(1024, 1), (2047, 2047), (2048, np.inf), (2049, np.inf), (10**6, np.inf)])
def test_gamma_is_infinite_where_nothing_is_certain(n, gamma):
    """γ(n) = n u / (1 - n u), with u = 1 / 2048."""
    assert EXACT_VALUES.gamma(n) == gamma


def test_the_values_are_as_exact_as_their_own_roundoff():
    """The same analysis with v in place of u; a margin of 2."""
    bounded = uncertain(1, 0.5)
    assert not bounded.undecided
    assert bounded.truth_bound == pytest.approx(2 * 2.0**-53 / U * 0.5, rel=1e-15)


def test_the_smallest_normal_number_is_no_subnormal_one():
    assert given([TINY]).bound == [0]
    assert given([np.nextafter(np.float32(TINY), 0)]).bound > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_number_may_be_rounded_beyond_it(dtype):
    largest = finfo(dtype).max
    assert (given([largest], dtype) * 1).bound == np.inf
    assert (given([largest * dtype(0.99)], dtype) * 1).bound < np.inf


@pytest.mark.parametrize(("a", "b"), [(1e-310, 1e-20), (1e-20, 1e-310)])
def test_a_bound_that_is_itself_flushed_makes_no_zero(a, b):
    """The product of a subnormal number's bound is 0 in float64; a program may find something else than 0."""
    product = given([a], np.float64) * given([b], np.float64)
    assert product.bound >= np.finfo(np.float64).smallest_normal


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
def test_a_partial_sum_may_leave_the_range(dtype):
    """Its order is not ours to choose."""
    largest = finfo(dtype).max
    assert given([0.9 * largest, 0.9 * largest, -0.9 * largest], dtype).sum(axis=-1).bound == np.inf


def test_a_sum_whose_magnitudes_stay_in_range_is_finite():
    """In any order: no partial sum of them exceeds the largest number."""
    half = np.finfo(np.float32).max / 2
    assert given([half, -half]).sum(axis=-1).bound < np.inf


@pytest.mark.parametrize("numerator", [0.0, 1.0])
@pytest.mark.parametrize("bound", [1.0, 2.0])
def test_a_divisor_that_may_be_zero(numerator, bound):
    assert (given([numerator]) / uncertain(1, bound)).bound == [np.inf]


def test_no_rows_have_no_sums():
    assert given(np.ones((0, 3))).sum(axis=-1).bound.shape == (0,)


@pytest.mark.parametrize(("function", "width"), [(expit, 2), (np.tanh, 1)])
def test_a_bound_that_is_not_cut_off_is_decided(function, width):
    """An uncertainty that just reaches the far end is not cut off."""
    assert not function(uncertain(0, width / 2)).undecided
    assert not function(uncertain(0, width)).undecided
    assert function(uncertain(0, 1.01 * width)).undecided


TRUTH_BOUND_OF_ONE = 2 * 2.0**-53 / U


@pytest.mark.parametrize(
    ("value", "bound", "unknown", "undecided"),
    [
        (0, 0, False, False), (2, 1, False, False), (1, 1, True, False), (1, 2, True, False), (0, 1, True, True),
        (TRUTH_BOUND_OF_ONE, 1, True, True), (2 * TRUTH_BOUND_OF_ONE, 1, True, False), (TINY, 0, False, False),
        (TINY / 2, 0, True, False),
    ],
)  # fmt: skip
def test_which_side_of_a_kink(value, bound, unknown, undecided):
    """Unknown where a program may be at zero or beyond it, undecided where the exact result may be, too."""
    gate = np.heaviside(uncertain(value, bound), 0)
    assert (gate.bound.tolist(), gate.undecided) == ([unknown], undecided)
