"""Inputs that show what others hide: one sample, odd numbers of them, ties, zeros, extremes.

What an operation hides it hides from batches of 1, sizes that are equal, and normal numbers. The
parameters keep their shapes, on which a function may depend; samples and positions vary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ml_dtypes import finfo

from backproof.backends.trajectory import Arrays
from backproof.cases.format.basics import DTYPES
from backproof.report.judging.alone.asked import Asked

# Losses of probabilities or of their logarithms, which other numbers are not.
OF_PROBABILITIES = {
    *("binary_cross_entropy", "negative_log_likelihood", "kl_divergence", "cosine"),
    *("gaussian_nll", "poisson"),
}
LARGE, SMALL = 24.0, 2.0**-12
BEYOND = 1.25  # times the largest number that has an exponential
ODD = 3
OF_INPUTS = 0x1A  # a stream of their own
SIGNED = ("first_moment", "velocity", "mean_gradient")  # states; the others are of squares


class Trial(NamedTuple):
    """Inputs to try, and a cotangent where it is to be another one than a drawn one."""

    words: str
    inputs: Arrays
    cotangent: str = "drawn"


def trials(asked: Asked) -> Iterator[Trial]:
    """Yield the inputs to try beside those that were given."""
    yield from _of_shapes(asked)
    for words, inputs in _of_numbers(asked):
        yield Trial(words, inputs)
    if asked.wanted:
        yield Trial("a cotangent of one number everywhere, expanded", asked.inputs, "expanded")
        yield Trial("a cotangent that is 0 but for the last element", asked.inputs, "last")


def unequal(asked: Asked, seed: int) -> Trial | None:
    """Return the inputs with drawn numbers for those that are all equal; None where none are.

    A bias of zeros, a state of zeros, a mask of ones hide that they are forgotten. Targets of a
    loss stay, and so does what must be a probability.
    """
    is_loss, generator = "t" in asked.by_sample and "t" not in asked.wanted, _generator(seed)
    drawn = {
        name: _drawn(asked, name, generator).astype(array.dtype)
        for name, array in asked.inputs.items()
        if (array == array.reshape(-1)[0]).all()
        and asked.kind not in OF_PROBABILITIES
        and not (is_loss and name == "t")
    }
    words = f"with drawn numbers in place of the equal ones of {' and '.join(drawn)}"
    return Trial(words, {**asked.inputs, **drawn}) if drawn else None


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng((seed, OF_INPUTS))


def _drawn(asked: Asked, name: str, generator: np.random.Generator) -> np.ndarray:
    """Draw an input: 0 and 1 of a mask, of a state what it may be, else normal numbers."""
    shape = asked.inputs[name].shape
    if asked.by_sample and name not in asked.wanted and name in asked.by_sample:
        return generator.integers(0, 2, shape)
    if asked.by_sample or name in ("parameter", "gradient"):
        return generator.normal(size=shape)
    if name in SIGNED:
        return 0.1 * generator.normal(size=shape)
    return generator.uniform(0.2, 0.8, shape)


def _of_shapes(asked: Asked) -> Iterator[Trial]:
    """Yield other numbers of samples, and of positions."""
    if not asked.by_sample:
        if asked.inputs["parameter"].size > 1:
            few = {name: array.reshape(-1)[:-1] for name, array in asked.inputs.items()}
            yield Trial("one element less, in one axis", few)
        return
    samples = asked.inputs[asked.by_sample[0]].shape[0]
    for count in dict.fromkeys((1, 2 * samples + 1, samples + ODD)):
        if count != samples:
            places = np.arange(count) % samples
            yield Trial(f"{count} samples in place of {samples}", _taken(asked, places, 0))
    positions = min(asked.inputs[name].ndim for name in asked.by_sample) - 2
    for axis in range(1, 1 + positions):
        size = asked.inputs[asked.by_sample[0]].shape[axis]
        for count in dict.fromkeys((1, 2, size + 1)):
            if count != size:
                words = f"{count} positions in place of {size} along axis {axis}"
                yield Trial(words, _taken(asked, np.arange(count) % size, axis))


def _taken(asked: Asked, places: np.ndarray, axis: int) -> Arrays:
    """Return the inputs with these places along an axis of all that have samples."""
    by = asked.by_sample
    return {n: a.take(places, axis=axis) if n in by else a for n, a in asked.inputs.items()}


def _of_numbers(asked: Asked) -> Iterator[tuple[str, Arrays]]:
    """Yield other numbers in the first input: ties, zeros, large and small ones."""
    if asked.kind in OF_PROBABILITIES:
        return
    name = next(iter(asked.inputs))
    x = asked.inputs[name]
    if x.dtype.name not in DTYPES:
        return

    def changed(values: np.ndarray) -> Arrays:
        return {**asked.inputs, name: values.astype(x.dtype)}

    wide = x.astype(np.float64)
    scale = np.abs(wide).max() or 1.0
    yield "every number of a row the same", changed(np.repeat(wide[..., :1], x.shape[-1], axis=-1))
    yield "numbers that repeat", changed(np.round(2 * wide / scale) / 2)
    yield "zeros", changed(0 * wide)
    zeros = np.where(np.arange(x.size).reshape(x.shape) % 3 == 0, 0.0, wide)
    yield "a zero in every third place", changed(zeros)
    yield "large numbers", changed(LARGE * wide / scale)
    beyond = BEYOND * math.log(float(finfo(x.dtype).max))
    if beyond > LARGE:
        numbers = beyond * wide / scale
        numbers.flat[0], numbers.flat[-1] = beyond, -beyond
        yield "numbers whose exponential overflows", changed(numbers)
    yield "small numbers", changed(max(SMALL, float(finfo(x.dtype).eps)) * wide / scale)
    yield "one number far larger than all others", changed(_with_an_outlier(wide, scale))


def _with_an_outlier(wide: np.ndarray, scale: float) -> np.ndarray:
    """Return the numbers with the last one of every row far larger."""
    out = wide / scale
    out[..., -1] = LARGE
    return out
