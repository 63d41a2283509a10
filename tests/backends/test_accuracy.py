"""The elementary functions of every backend, in ulp from the exact result. `make accuracy` prints the table."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import erfc, expit
from tabulate import tabulate

from backproof.backends.registry import DEFAULT, Missing, backend
from backproof.reference.numbers.balls import balls, floats, sizes, working_precision
from backproof.reference.numbers.functions import ULPS_OF_ELEMENTARY_FUNCTIONS
from backproof.reference.numbers.half import half
from backproof.reference.numbers.precision import precision_of

NAMES = (*DEFAULT, "jax-eager")  # whose functions are compiled as XLA's defaults are
POINTS = 2_000_000
DTYPES = ["float32", "float64", "float16", "bfloat16"]
EXACT = {
    "sigmoid": expit, "tanh": np.tanh, "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "erfc": erfc,
}  # fmt: skip
POSITIVE = ("log", "log1p")

ERRORS: dict[tuple[str, str], dict[str, float]] = {}


def function_of(name: str, function: str) -> Callable[[np.ndarray], np.ndarray]:
    """What the backend's users call, compiled where they compile, from array to array."""
    backend_or_skip(name)
    match name:
        case "numpy":
            return lambda x: np.asarray(EXACT[function](half(x)))
        case "torch":
            import torch

            from backproof.backends.torch_autograd.arrays import to_array, to_tensor

            rule = getattr(torch, function)
            return lambda x: to_array(rule(to_tensor(x)))
        case "jax" | "jax-eager":
            import jax

            from backproof.backends.jax_autograd.activations import ACTIVATIONS
            from backproof.backends.jax_autograd.arithmetic import COMPILER_OPTIONS

            elsewhere = {"sigmoid": ACTIVATIONS["sigmoid"], "erfc": jax.scipy.special.erfc}
            rule = elsewhere.get(function) or getattr(jax.numpy, function)
            options = COMPILER_OPTIONS if name == "jax" else {}
            return lambda x: np.asarray(jax.jit(rule, compiler_options=options)(x))


def backend_or_skip(name: str) -> None:
    try:
        backend(name)
    except Missing as reason:
        pytest.skip(str(reason))


def points(dtype: str) -> np.ndarray:
    """Every number of 16 bits; else random ones, over the tails of sigmoid, what is not saturated, all magnitudes."""
    if np.dtype(dtype).itemsize == 2:
        numbers = np.arange(2**16, dtype=np.uint16).view(dtype)
        with np.errstate(invalid="ignore"):  # some of them are NaN, and others may be taken for zero
            return numbers[np.isfinite(numbers) & (sizes(numbers) >= precision_of(numbers.dtype).smallest)]
    random, tail = np.random.default_rng(0), 87 if dtype == "float32" else 708
    magnitudes = 10 ** random.uniform(-30, 1, POINTS // 4) * random.choice([-1, 1], POINTS // 4)
    flat, steep = random.uniform(-tail, tail, POINTS // 4), random.uniform(-20, 20, POINTS // 2)
    return np.concatenate([flat, steep, magnitudes]).astype(dtype)


def suspects(function: str, x: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """The points where the function seems worst in the next wider float; where that has none, every thousandth."""
    precision = precision_of(x.dtype)
    if precision.wider is balls or (function == "erfc" and x.dtype == np.float64):
        return np.arange(0, len(x), 1000)
    exact = EXACT[function](precision.wider(x))
    errors = abs(precision.wider(actual) - exact) / np.spacing(abs(exact).astype(x.dtype))
    counts = (abs(exact) >= precision.smallest) & (abs(exact) <= precision.largest)
    return np.argsort(np.where(counts, errors, 0))[-500:]


def errors_in_ulp(actual: np.ndarray, exact) -> np.ndarray:
    """|actual - exact| in ulp of the exact result; 0 where that may be flushed, or is beyond the range."""
    desired = floats(exact)
    precision = precision_of(actual.dtype)
    counts = (abs(desired) >= precision.smallest) & (abs(desired) <= precision.largest)
    ulp = np.spacing(abs(desired).astype(actual.dtype)).astype(float)
    return np.where(counts, sizes(balls(actual) - exact) / ulp, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", EXACT)
@pytest.mark.parametrize("name", NAMES)
@np.errstate(all="ignore")
def test_an_elementary_function_is_within_8_ulp(name, function, dtype):
    x = points(dtype)
    x = x[x > 0] if function in POSITIVE else x
    actual = function_of(name, function)(x)
    assert actual.dtype == dtype
    worst_points = suspects(function, x, actual)
    x, actual = x[worst_points], actual[worst_points]
    with working_precision(200):
        errors = errors_in_ulp(actual, EXACT[function](balls(x)))
    worst = errors.argmax()
    ERRORS.setdefault((function, dtype), {})[name] = errors[worst]
    allowed = ULPS_OF_ELEMENTARY_FUNCTIONS + (np.square(x) if function == "erfc" else 0)  # it rounds x² in e^(-x²)
    assert (errors <= allowed).all(), f"{function}({x[worst]!r}) = {actual[worst]!r}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_error_is_measured_in_ulp(dtype):
    """A number that is three ulp off is; what was flushed to zero is not counted."""
    exact = np.array([1.5, -1e-3, 1e-45], dtype)
    actual = exact + np.array([3, -3, 0], dtype) * np.spacing(abs(exact))
    actual[2] = 0
    with working_precision(200):
        assert errors_in_ulp(actual, balls(exact))[:2].tolist() == [3, 3]
        assert errors_in_ulp(actual[2:], balls(exact[2:] * 1e-280 if dtype == "float64" else exact[2:])) == 0


def test_table():
    """The largest errors that were measured above."""
    if not ERRORS:
        pytest.skip("nothing was measured")
    rows = [
        (*row, *(f"{measured[name]:.2f}" if name in measured else "" for name in NAMES))
        for row, measured in ERRORS.items()
    ]
    print(
        f"\nLargest error in ulp, of {POINTS:,} points or all of 16 bits; {ULPS_OF_ELEMENTARY_FUNCTIONS} are allowed\n"
    )
    print(tabulate(rows, headers=["function", "dtype", *NAMES], disable_numparse=True))
