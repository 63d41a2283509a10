"""Sums over any axes, means, sums of what meets at a place, and the first largest number, of every kind of number."""

from dataclasses import replace

import numpy as np
import pytest
from flint import arb
from ml_dtypes import bfloat16

from backproof.reference.numbers.balls import balls, floats, working_precision
from backproof.reference.numbers.bounded import exact
from backproof.reference.numbers.half import Half, half
from backproof.reference.numbers.kinks import Kinks
from backproof.reference.numbers.moves import gather
from backproof.reference.numbers.precision import precision_of
from backproof.reference.numbers.protocol import first_largest, positive
from backproof.reference.numbers.sums import mean, scatter_add
from tests.reference.numbers.test_bounded import assert_sound, draws
from tests.trial.bounds import DTYPES, SMALLEST_NORMAL, WIDE_DTYPES, budgets, given, uncertain

U, TINY = 2.0**-24 + 2 * 2.0**-53, SMALLEST_NORMAL
SHAPE, AXES = (2, 3, 4), [(0,), (1, 2), (0, 2), (0, 1, 2), (-1,)]
PLACES = np.array([[2, -1, 0], [1, 1, -1]])
PLACES_OF_STEPS = np.array([[0, 0, 3], [2, -1, 2]])
ONE_PRECISION = precision_of(np.dtype(np.float32))

FORMULAS = {
    "sum of all": (lambda x: x.sum(), SHAPE),
    "sum by name": (lambda x: np.sum(x, axis=(0, 2), keepdims=True), SHAPE),
    "mean of all": (lambda x: x.mean(), SHAPE),
    "mean": (lambda x: np.mean(x, axis=(1, 2)), SHAPE),
    "mean, and a bias": (lambda x, b: mean(x, axis=-1) + b, SHAPE, (2, 3)),
    "scattered": (lambda x: scatter_add(x, PLACES, 4, axis=1), (2, 2, 3, 4)),
    "scattered by steps": (lambda x: scatter_add(x, PLACES_OF_STEPS, 4, axis=1, paired=1), SHAPE),
    "gathered, and a bias": (lambda x, b: gather(x.sum(axis=1), PLACES, axis=1) + b, SHAPE, (2, 2, 3)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_every_sum_is_sound(name, dtype):
    random = np.random.default_rng(list(FORMULAS).index(name))
    formula, *shapes = FORMULAS[name]
    for trial in range(6):
        assert_sound(formula, draws(random, dtype, *shapes, hostile=trial % 3 > 0), random)


@pytest.mark.parametrize("axes", AXES)
def test_sums_and_means_of_every_kind(axes):
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float16)
    desired = x.astype(float).sum(axis=axes), x.astype(float).mean(axis=axes)
    for kind in (lambda x: x.astype(float), half, lambda x: half(x.astype(bfloat16)), balls, given):
        of_kind = kind(x)
        for total, average in (
            (of_kind.sum(axis=axes), of_kind.mean(axis=axes)),
            (np.sum(of_kind, axis=axes), np.mean(of_kind, axis=axes)),
        ):
            assert type(total) is type(average)
            for found, right in zip((total, average), desired, strict=True):
                np.testing.assert_allclose(floats(getattr(found, "value", found)), right, rtol=0.02, atol=0.02)


def test_a_mean_is_a_sum_divided_by_a_whole_number():
    total = given([[1.0, 2.0, 4.0]]).sum(axis=-1)
    assert mean(given([[1.0, 2.0, 4.0]]), axis=-1).bound == (total / 3).bound
    assert mean(given(np.ones((2, 3))), axis=None).shape == ()


def test_the_mean_of_halves_rounds_twice():
    x = half(np.array([[1, 2.0**-10, 2.0**-10, 0]], np.float16))
    assert x.mean(axis=-1).astype(float) == float(np.float16((1 + 2.0**-9) / 4))
    assert type(x.mean(axis=-1)) is Half


# ---------------------------------------------------------------- what meets at a place


def test_scatter_add():
    values = np.arange(12.0).reshape(2, 3, 2)
    found = scatter_add(values, PLACES, 3)
    assert found.tolist() == [[4, 5], [6 + 8, 7 + 9], [0, 1]]
    paired = scatter_add(values, PLACES, 3, axis=1, paired=1)
    assert paired.tolist() == [[[4, 5], [0, 0], [0, 1]], [[0, 0], [6 + 8, 7 + 9], [0, 0]]]
    assert scatter_add(np.ones((5, 2, 3)), PLACES, 3, axis=-1)[0].tolist() == [1, 2, 1]


@pytest.mark.parametrize("paired", [0, 1])
def test_scatter_add_is_gather_the_other_way_round(paired):
    """⟨gather x, y⟩ = ⟨x, scatter_add y⟩."""
    random = np.random.default_rng(1)
    x = random.normal(size=(2, 5, 3, 4))
    index = random.integers(-1, 3, (2, 6))
    gathered = gather(x, index, axis=2, paired=paired)
    y = random.normal(size=gathered.shape)
    scattered = scatter_add(y, index, 3, axis=2, paired=paired)
    assert scattered.shape == x.shape
    np.testing.assert_allclose((gathered * y).sum(), (x * scattered).sum())


def test_the_bound_knows_how_many_terms_meet():
    found = scatter_add(given([1.0, 2.0, 4.0, 8.0]), [1, 1, 1, 3], 4)
    n, magnitude = np.array([0, 3, 0, 1]), np.array([0, 7, 0, 8])
    assert found.terms[0].tolist() == n.tolist()
    np.testing.assert_allclose(found.bound, n * U / (1 - n * U) * magnitude + n * TINY, rtol=1e-13)
    assert found.grid.tolist() == [np.inf, 1, np.inf, 8]
    np.testing.assert_allclose((found + 1).bound[1], found.bound[1] + 4 * U / (1 - 4 * U) * 8 + 4 * TINY, rtol=1e-13)


def test_a_scattered_half_is_rounded_once():
    x = half(np.array([1, 2.0**-11, 2.0**-11], np.float16))
    found = scatter_add(x, [0, 0, 0], 2)
    assert (type(found), found.astype(float).tolist()) == (Half, [1 + 2.0**-10, 0])


def test_scattered_balls_are_balls():
    found = scatter_add(balls(np.array([0.1, 0.2])), [1, 1], 3)
    assert isinstance(found[0], arb)
    assert np.exp(found)[0] == 1


@pytest.mark.parametrize("of", [np.asarray, given, balls])
def test_scatter_add_tells_what_does_not_fit(of):
    with pytest.raises(ValueError, match=r"scatter_add: expected an index of the shape \(3,\), found \(2,\)"):
        scatter_add(of(np.ones(3)), [0, 0], 2)
    with pytest.raises(ValueError, match=r"places: expected -1 to 1, found 0 to 2"):
        scatter_add(of(np.ones(3)), [0, 2, 1], 2)


# ---------------------------------------------------------------- the first largest


def sides(found) -> list[list]:
    """0, 1, or None where it is not certain."""
    return np.where(found.bound == 0, floats(found.value), None).tolist()


ROWS = {
    "one": ([[1.0, 3.0, 2.0]], [[0, 1, 0]]),
    "a tie": ([[3.0, 1.0, 3.0]], [[1, 0, 0]]),
    "zeros": ([[0.0, 0.0, -1.0]], [[1, 0, 0]]),
}


@pytest.mark.parametrize(("row", "desired"), ROWS.values(), ids=ROWS)
def test_the_first_of_the_largest_numbers(row, desired):
    x = np.array(row)
    for kind in (np.asarray, lambda x: half(x.astype(bfloat16)), lambda x: half(x.astype(np.float16)), balls):
        found = first_largest(kind(x), axis=-1)
        assert type(found) is type(kind(x))
        assert found.shape == x.shape
        assert floats(found).tolist() == desired
        assert floats(first_largest(kind(x.T), axis=0)).tolist() == np.transpose(desired).tolist()
    assert first_largest(x.astype(np.float32), -1).dtype == np.float32
    for dtype in DTYPES:
        assert sides(first_largest(given(x, dtype), axis=-1)) == desired


def test_of_numbers_that_every_program_finds_the_first_largest_is_certain():
    """0.5 + 0.25 is 0.75 without error, though it has a bound."""
    x = given([[0.5, 0.75, 0.25]]) + given([[0.25, 0.0, 0.5]])
    assert (x.bound > 0).any()
    assert sides(first_largest(x, axis=-1)) == [[1, 0, 0]]


def test_where_two_may_be_the_largest_it_is_not_certain():
    x = np.concatenate([uncertain(1, 0.25), uncertain(1.25, 0.25), uncertain(0.5, 0.125), given([0.75, 0.75])])
    found = first_largest(x, axis=0)
    assert sides(found) == [None, None, 0, 0, 0]
    assert found.value.tolist() == [0, 1, 0, 0, 0]
    assert (found.passed, found.undecided) == (1, False)
    for actual in ([1, 0, 0, 0, 0], [0, 1, 0, 0, 0]):
        assert budgets(found, np.array(actual, np.float32)).max() <= 1
    assert budgets(found, np.array([0, 0, 1, 0, 0], np.float32)).max() == 0 or (found.bound[2] == 0)


def test_of_equals_that_are_known_only_the_first_may_be_the_largest():
    x = np.concatenate([given([1.0, 1.0]), uncertain(1, 0.25), given([1.0])])
    assert sides(first_largest(x, axis=0)) == [None, 0, None, 0]


def test_the_exact_result_may_be_either():
    x = np.tanh(given([[0.3, 0.3, 0.2]]))
    found = first_largest(x, axis=-1)
    assert found.undecided
    assert sides(found) == [[None, None, 0]]
    assert (found.truth_bound == found.bound).all()


def test_what_may_be_infinite_is_not_judged():
    x = np.concatenate([uncertain(1, np.inf), given([2.0])])
    assert (first_largest(x[None], axis=-1).bound == np.inf).all()


def test_balls_that_overlap_do_not_decide():
    with working_precision(64):
        x = balls(np.array([arb(1, 0.5), arb(1.25), arb(0.25), arb(1.25)], dtype=object))
        found = first_largest(x, axis=0)
    assert [ball.is_exact() for ball in found] == [False, False, True, True]
    assert all(ball.contains(end) for ball in found[:2] for end in (0, 1))
    assert floats(found[2:]).tolist() == [0, 0]


def near(dtype=np.float32):
    """Two windows of two numbers, in the first of which either may be the largest."""
    kinks = Kinks(lambda place, _: told.get(place))
    told: dict = {}
    precision = replace(precision_of(np.dtype(dtype)), kinks=kinks)
    x = np.tanh(exact(np.array([[0.3, 0.3], [0.1, 0.2]], dtype), precision))
    return x, kinks, told


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
def test_kinks_count_it_and_tell_which_to_take(dtype):
    x, kinks, told = near(dtype)
    first_largest(x, axis=-1)
    (kink,) = kinks.met
    assert kink.uncertain.tolist() == [[True, True], [False, False]]
    assert (kink.signs, kink.depth) == ((-1.0, 1.0), 0)
    assert np.sign(floats(kink.numbers.value)).tolist() == [[1, -1], [-1, 1]]
    told[0] = np.array([[-1.0, 1.0], [1.0, 1.0]])
    assert sides(first_largest(x, axis=-1)) == [[0, 1], [0, 1]]
    assert len(kinks.met) == 1, "the same numbers are the same kink"


def test_the_sides_of_the_same_numbers_are_other_kinks():
    x, kinks, _ = near()
    for _ in range(2):
        first_largest(x, axis=-1), first_largest(x, axis=0), positive(x)
    assert len(kinks.met) == 3
