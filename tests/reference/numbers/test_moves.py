"""What only moves numbers changes nothing that is known of them, of whatever kind they are."""

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from backproof.reference.numbers.balls import Balls, balls, floats, radius, working_precision
from backproof.reference.numbers.bounded import Bounded, exact
from backproof.reference.numbers.half import Half, half
from backproof.reference.numbers.moves import MOVES, gather
from backproof.reference.numbers.precision import precision_of
from backproof.reference.numbers.protocol import positive
from tests.trial.bounds import DTYPES, given, uncertain

KNOWN = ("value", "bound", "magnitude", "allowance", "grid")
RANDOM = np.random.default_rng(0)
SHAPE = (2, 3, 4)
PLACES = np.array([[2, -1, 0], [1, 1, -1]])
IS_LEFT = RANDOM.random(SHAPE) < 0.5

# A move of one array of shape (2, 3, 4), by NumPy's name or by the name of ours; index and method too.
OF_ONE = {
    "reshape": lambda x: np.reshape(x, (4, 6)),
    "reshape, the method": lambda x: x.reshape(-1, 4).reshape((3, 8)),
    "ravel": np.ravel,
    "ravel, the method": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "transpose": lambda x: np.transpose(x, (1, 2, 0)),
    "transpose, the method": lambda x: x.transpose(2, 0, 1).transpose((1, 0, 2)),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "swapaxes": lambda x: np.swapaxes(x, 0, 2).swapaxes(1, 2),
    "expand_dims": lambda x: np.expand_dims(x, (0, 3)),
    "squeeze": lambda x: np.squeeze(x[:1, None], axis=0).squeeze(),
    "broadcast_to": lambda x: np.broadcast_to(x, (5, *SHAPE)),
    "take": lambda x: np.take(x, PLACES % 3, axis=1),
    "take_along_axis": lambda x: np.take_along_axis(x, PLACES[..., None] % 3, axis=1),
    "flip": lambda x: np.flip(x, axis=1),
    "index": lambda x: x[..., None, 1:, ::-1],
    "index by arrays": lambda x: x[:, [2, 0, 2]],
    "split": lambda x: np.split(x, 3, axis=1)[1],
    "split at places": lambda x: np.split(x, [1, 3], axis=-1)[2],
    "pad": lambda x: np.pad(x, [(0, 1), (2, 0), (0, 0)]),
    "gather": lambda x: gather(x, PLACES % 3, axis=1),
    "gather of steps": lambda x: gather(x, PLACES % 3, axis=1, paired=1),
    "gather of steps, further back": lambda x: gather(x, PLACES, axis=-1, paired=1),
    "gather from beyond the edge": lambda x: gather(x, PLACES, axis=1),
}
OF_TWO = {
    "concatenate": lambda x, y: np.concatenate([x, y], axis=1),
    "stack": lambda x, y: np.stack([x, y], axis=1),
    "where": lambda x, y: np.where(IS_LEFT, x, y),
}
BY_NAME = OF_ONE | OF_TWO

# What makes numbers of which more is known than a value and a bound.
MADE = {
    "larger of two": np.maximum,
    "matrix product": lambda a, b: (a @ b.mT) @ b,
    "sum that goes on": lambda a, b: a.sum(axis=1, keepdims=True) + b,
    "difference": lambda a, b: a - b,
    "behind a kink": lambda a, b: positive(a @ b.mT @ b - 1e-3) * a,
}
OPERATIONS = {
    "root": np.sqrt,
    "sum with another": lambda x: x + given(np.float32(0.3)),
    "product": lambda x: x * given(np.float32(0.3)),
    "side": positive,
    "elementary": np.tanh,
}


def numbers(seed: int, dtype=np.float32) -> tuple[Bounded, Bounded]:
    """Two arrays: multiples of a power of two, a few zeros among them, or numbers that every program rounds."""
    random = np.random.default_rng(seed)
    drawn = [random.choice([0.0, 0.5, -1.5, 1.1, random.normal()], SHAPE) for _ in range(2)]
    return tuple(given(array, dtype) for array in drawn)


def assert_same(one: Bounded, other: Bounded) -> None:
    """In all that is known of them."""
    for known in KNOWN:
        np.testing.assert_array_equal(getattr(one, known), getattr(other, known), err_msg=known)
    assert (one.undecided, one.passed) == (other.undecided, other.passed)


def test_every_move_is_tested():
    named = {name.partition(",")[0] for name in BY_NAME}
    assert {function.__name__ for function in MOVES} <= named


@settings(deadline=None, max_examples=300)
@drawn(
    st.sampled_from([*OF_ONE]), st.sampled_from([*MADE]), st.sampled_from([*OPERATIONS]), st.integers(0, 2**32),
    st.sampled_from(DTYPES),
)  # fmt: skip
def test_to_move_and_to_operate_is_to_operate_and_to_move(move, made, operation, seed, dtype):
    """But where zeros come in: an operation need not make 0 of 0."""
    if move in ("pad", "gather from beyond the edge", "gather of steps, further back"):
        move = "gather"
    x = MADE[made](*numbers(seed, dtype))
    move, operate = OF_ONE[move], OPERATIONS[operation]
    assert_same(move(operate(x)), operate(move(x)))


@settings(deadline=None, max_examples=100)
@drawn(st.sampled_from([*OF_TWO]), st.sampled_from([*MADE]), st.sampled_from([*OPERATIONS]), st.integers(0, 2**32))
def test_what_is_joined_of_one_kind_keeps_it(move, made, operation, seed):
    x, y = MADE[made](*numbers(seed)), MADE[made](*numbers(seed + 1))
    move, operate = OF_TWO[move], OPERATIONS[operation]
    assert_same(move(operate(x), operate(y)), operate(move(x, y)))


@settings(deadline=None, max_examples=100)
@drawn(
    st.sampled_from(["pad", "gather from beyond the edge", "gather of steps, further back"]),
    st.sampled_from([*MADE]), st.integers(0, 2**32),
)  # fmt: skip
def test_what_comes_from_beyond_an_edge_is_an_exact_zero(move, made, seed):
    """That nothing was added up to, so that it lies on every grid; the others keep all that is known of them."""
    x = MADE[made](*numbers(seed))
    moved, is_inside = OF_ONE[move](x), OF_ONE[move](np.ones(SHAPE)) == 1
    for known in KNOWN:
        of_x = OF_ONE[move](getattr(x, known))
        beyond = np.inf if known == "grid" else 0
        np.testing.assert_array_equal(getattr(moved, known), np.where(is_inside, of_x, beyond), err_msg=known)
    biased = moved + 1
    np.testing.assert_array_equal(np.where(is_inside, biased.bound, 0), OF_ONE[move]((x + 1).bound))


# ---------------------------------------------------------------- what was lost on the way


def test_the_root_of_a_difference_is_in_doubt_however_it_is_moved():
    difference = uncertain(1, 0.5) - 1
    for moved in (difference, difference[None], difference.reshape(1, 1), np.stack([difference, difference + 5])):
        assert np.sqrt(moved).bound.ravel()[0] == np.inf


def test_a_bias_may_come_first_however_a_product_is_moved():
    a, b, bias = given(np.full((2, 40), 1.1)), given(np.full((40, 3), 0.7)), given(np.full((2, 3), 0.3))
    directly = (a @ b + bias).bound
    for move in (lambda x: x[:], lambda x: x[..., ::-1], lambda x: x.mT.mT, lambda x: x.reshape(3, 2).reshape(2, 3)):
        assert (move(a @ b) + bias).bound.tolist() == directly.tolist()
    assert ((a @ b)[:1] + bias[0]).bound.tolist() == directly[:1].tolist()


def test_joined_sums_are_as_long_as_each_of_them():
    """One number, joined to a sum that may go on, is a sum of one term."""
    row = given(np.full((1, 40), 1.1))
    long, short, alone = (row.sum(axis=-1), row[:, :3].sum(axis=-1), row[:, 0])
    joined = np.concatenate([long, short, alone])
    assert joined.terms[0].tolist() == [40, 3, 1]
    bounds = (joined + 1).bound
    assert bounds[:2].tolist() == [*(long + 1).bound, *(short + 1).bound]
    assert bounds[2] >= (alone + 1).bound


def test_of_joined_numbers_the_safe_side_is_kept():
    undecided = uncertain(1, 0.5, undecided=True)
    joined = np.concatenate([uncertain(2, 0.5), uncertain(1, 0.5) - 1, positive(uncertain(3, 0.5)), undecided])
    assert (joined.undecided, joined.is_difference, joined.passed) == (True, True, 1)
    plain = np.concatenate([uncertain(2, 0.5), uncertain(3, 0.5)])
    assert (plain.undecided, plain.is_difference, plain.passed, plain.terms) == (False, False, 0, None)


def test_what_is_joined_to_bounded_numbers_is_a_constant():
    chosen = np.where(np.array([True, False]), given([1.0, 2.0]), 0.1)
    assert chosen.bound.tolist() == [0, (np.maximum(given([0.0]), 0.1)).bound[0]]
    assert chosen.precision.dtype == np.float32


def test_the_coarser_precision_is_that_of_what_is_joined():
    joined = np.concatenate([given([0.1], np.float32), given([0.1], np.float16)])
    assert joined.precision.dtype == np.float16
    assert (joined.bound > 0).tolist() == [True, False]


# ---------------------------------------------------------------- every kind of number


def arrays(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(place).normal(size=SHAPE) for place in range(count)]


@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
@pytest.mark.parametrize("name", BY_NAME)
def test_halves_move_like_floats(name, dtype):
    given = [array.astype(dtype) for array in arrays(2 if name in OF_TWO else 1)]
    moved = BY_NAME[name](*map(half, given))
    assert (type(moved), moved.dtype) == (Half, np.dtype(dtype))
    np.testing.assert_array_equal(moved.astype(float), BY_NAME[name](*(array.astype(float) for array in given)))


@pytest.mark.parametrize("name", BY_NAME)
def test_balls_move_like_floats(name):
    """What comes from beyond an edge is a ball, too."""
    given = arrays(2 if name in OF_TWO else 1)
    moved = BY_NAME[name](*map(balls, given))
    assert type(moved) is Balls
    np.testing.assert_array_equal(floats(moved), BY_NAME[name](*given))
    assert radius(np.exp(moved) - np.exp(moved)) < 1e-10


@pytest.mark.parametrize("name", BY_NAME)
def test_bounded_balls_move(name):
    """On a machine without long double."""
    precision = precision_of(np.dtype(np.float64))
    in_balls = type(precision)(precision.dtype, balls, precision.wider_u)
    given = arrays(2 if name in OF_TWO else 1)
    with working_precision(128):
        moved = BY_NAME[name](*(exact(array, in_balls) for array in given))
    assert type(moved.value) is Balls
    np.testing.assert_array_equal(floats(moved.value), BY_NAME[name](*given))


KINDS = {"floats": np.asarray, "bounded": given, "balls": balls, "halves": lambda x: half(x.astype(np.float16))}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "floats"])
def test_a_function_that_is_no_move_is_refused(kind):
    x = KINDS[kind](np.ones((2, 2)))
    for function in (np.cumsum, np.sort, np.linalg.norm, np.trace, np.nan_to_num):
        with pytest.raises(TypeError, match=r"no implementation found"):
            function(x)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "floats"])
def test_padding_is_with_zeros_alone(kind):
    with pytest.raises(ValueError, match=r'expected the mode "constant" and zeros, found \'edge\' and 0'):
        np.pad(KINDS[kind](np.ones(3)), 1, mode="edge")
    with pytest.raises(ValueError, match=r'expected the mode "constant" and zeros, found \'constant\' and 1'):
        np.pad(KINDS[kind](np.ones(3)), 1, constant_values=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", [[3], [-2], [0, 7]])
def test_a_place_that_there_is_not(index, kind):
    with pytest.raises(ValueError, match=r"places: expected -1 to 2, found -?\d to \d|places: .* -2 to -2"):
        gather(KINDS[kind](np.ones(3)), index)


def test_places_are_whole_numbers():
    with pytest.raises(ValueError, match=r"places: expected whole numbers, found an array of float64"):
        gather(np.ones(3), [0.0])


def test_gather():
    x = np.arange(12.0).reshape(3, 4)
    assert gather(x, [[0, -1], [2, 1]], axis=1)[0].tolist() == [[0, 0], [2, 1]]
    assert gather(x, [[0, -1], [2, 1], [3, 3]], axis=1, paired=1).tolist() == [[0, 0], [6, 5], [11, 11]]
    table = np.arange(24.0).reshape(2, 3, 4)
    tokens = np.array([[[0, 1]], [[2, -1]]])
    rows = gather(table, tokens, axis=1, paired=1)
    assert rows.shape == (2, 1, 2, 4)
    np.testing.assert_array_equal(rows[0, 0], table[0, :2])
    np.testing.assert_array_equal(rows[1, 0], [table[1, 2], [0, 0, 0, 0]])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_gives_zeros_from_beyond_the_edge(kind):
    """As the way back from a slice that is empty."""
    found = gather(KINDS[kind](np.ones((2, 0))), np.array([-1, -1, -1]), axis=1)
    assert found.shape == (2, 3)
    assert not np.any(found.value if hasattr(found, "value") else np.asarray(found).astype(float))
