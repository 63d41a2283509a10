"""16-bit numbers of the reference: one rounding an operation, sums in float32."""

import numpy as np
import pytest
from ml_dtypes import bfloat16, finfo
from scipy.special import erfc, expit

from backproof.reference.numbers.half import Half, half

DTYPES = [np.float16, bfloat16]
EVERY_PATTERN = np.arange(2**16, dtype=np.uint16)


def numbers(dtype, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ufunc", [np.add, np.subtract, np.multiply, np.divide, np.maximum])
def test_an_operation_rounds_once(ufunc, dtype):
    """What float64 gives, which is wide enough for all of them, rounded to the dtype."""
    a, b = numbers(dtype, 2, 5000)
    found = ufunc(half(a), half(b))
    exact = ufunc(a.astype(np.float64), b.astype(np.float64))
    distance = np.abs(found.astype(np.float64) - exact)
    for neighbour in (np.nextafter(np.asarray(found), dtype(np.inf)), np.nextafter(np.asarray(found), dtype(-np.inf))):
        assert (distance <= np.abs(neighbour.astype(np.float64) - exact)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ufunc", [np.tanh, np.exp, np.sqrt, np.log1p, np.expm1, np.negative, np.absolute, expit, erfc])
def test_every_function_takes_every_number(ufunc, dtype):
    """SciPy has no loop for bfloat16, nor NumPy for some functions: they go through float32."""
    x = EVERY_PATTERN.view(dtype)
    with np.errstate(all="ignore"):
        found, desired = ufunc(half(x)), ufunc(x.astype(np.float32)).astype(dtype)
    assert type(found) is Half
    np.testing.assert_array_equal(found.astype(np.float32), desired.astype(np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "total", [lambda x: x.sum(axis=-1), lambda x: (x @ np.ones((3, 1), x.dtype))[..., 0], lambda x: x.mT.sum(axis=-2)]
)
def test_a_sum_rounds_at_its_end(total, dtype):
    """1 and two numbers that 1 swallows, one after the other."""
    ulp = float(finfo(dtype).eps)
    x = half(np.array([[1, ulp / 2, ulp / 2], [ulp, -1, 1]], dtype))
    found = total(x)
    assert found.dtype == dtype
    assert found.astype(float).tolist() == [1 + ulp, ulp]


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_made_of_16_bit_numbers_is_of_their_kind(dtype):
    """Constants, indices, joining and sums over all axes too; plain arrays beside them are taken as they are."""
    x = half(numbers(dtype, 3, 4))
    made = [0.1 * x, x + np.ones((3, 4), dtype), x[1:], x[..., None, :], x.mT, x.sum(axis=(-2, -1)), -x, 1 - x]
    made += [np.concatenate([x, x], axis=-1), np.maximum.reduce(x, axis=-1, keepdims=True)]
    assert [(type(result), result.dtype) for result in made] == [(Half, np.dtype(dtype))] * len(made)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_wider_numbers_are_left_alone(dtype):
    x = np.ones(3, dtype)
    assert half(x) is x
