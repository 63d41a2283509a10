"""A bound covers every form in use that rounds each operation once (`docs/tolerance.md`), and no more than that."""

from functools import partial
from itertools import cycle

import numpy as np
import pytest
from scipy.special import softmax

from backproof.cases.format.optimizers import Adam, Norm, Sgd
from backproof.reference.formulas.losses import loss_backward, loss_forward
from backproof.reference.formulas.optimizers import clipped, update
from backproof.reference.numbers.protocol import by_any_form, number_like
from tests.trial.bounds import DTYPES, WIDE_DTYPES, budgets, given
from tests.trial.layer_forms import BACKWARD, DERIVATIVES_OF_LOSSES, FORWARD, LOSSES, rules_of
from tests.trial.update_forms import CLIPS, FORMS
from tests.trial.worst import Arithmetic, Program

SIZES = [(1, 1, 1), (1, 100, 1), (1, 1, 100), (1, 0.01, 0.01), (0.01, 1, 1), (0.1, 1, 0.1), (0.3, 3, 3)]
NUMBERS = 400
STEPS = (0, 1, 6, 2000)
LATE_STEPS = (6, 40, 2000)  # where RAdam is rectified


def operands(random: np.random.Generator, optimizer, dtype, sizes: tuple) -> list[np.ndarray]:
    """A weight, a gradient and a memory of these sizes; in a third of the elements two of them all but cancel."""
    of_w, of_g, of_memory = sizes
    w, g = random.normal(size=NUMBERS) * of_w, random.normal(size=NUMBERS) * of_g
    near = random.integers(0, 6, NUMBERS)
    g = np.where(near == 0, 10 * w, g)
    memory = [np.where(near == 1, g * (1 + 1e-3), random.normal(size=NUMBERS) * of_memory) for _ in optimizer.state]
    memory = [remembered(name, numbers, g) for name, numbers in zip(optimizer.state, memory, strict=True)]
    with np.errstate(over="ignore"):
        return [array.astype(dtype) for array in (w, g, *memory)]


def remembered(name: str, numbers: np.ndarray, g: np.ndarray) -> np.ndarray:
    """A number that an optimizer may remember under this name."""
    if name == "mean_square":
        return np.square(numbers) + 9 * np.square(g) + 1
    if name in ("accumulator", "mean_square_update", "second_moment", "infinity_norm"):
        return np.abs(numbers)
    return np.abs(numbers) / (1 + np.abs(numbers)) if name == "momentum_product" else numbers


def bounds(optimizer, w, g, memory: list, step: int, dtype) -> list:
    """The new value and memory with their bounds."""
    state = {f"{name}/w": given(numbers, dtype) for name, numbers in zip(optimizer.state, memory, strict=True)}
    after, state = update(optimizer, {"w": given(w, dtype)}, {"w": given(g, dtype)}, state, step)
    return [after["w"], *state.values()]


def constants(w: Program):
    """How a program makes its settings: of its own kind, or in 16 bits as Python's floats, which are rounded once."""
    return partial(number_like, w) if w.arithmetic.dtype.itemsize > 2 else float


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_form_in_use_is_within_the_bound(form, dtype):
    """However it rounds; its roots round once, as IEEE 754 has it."""
    random = np.random.default_rng(len(form.name))
    steps = LATE_STEPS if form.optimizer.kind == "radam" else STEPS
    for sizes, step in zip(SIZES, cycle(steps), strict=False):
        w, g, *memory = operands(random, form.optimizer, dtype, sizes)
        right = bounds(form.optimizer, w, g, memory, step, dtype)
        for way in ("nearest", "up", "down", "either"):
            arithmetic = Arithmetic(np.dtype(dtype), way, random, roundings_of_functions=1)
            w_, g_, *memory_ = (Program(array, arithmetic) for array in (w, g, *memory))
            with np.errstate(all="ignore"):
                found = form.update(form.optimizer, constants(w_), w_, g_, step + 1, *memory_)
            for bounded, program in zip(right, found, strict=True):
                assert budgets(bounded, program.values).max() <= 1, (sizes, step, way)


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
@pytest.mark.parametrize("form", CLIPS.values(), ids=CLIPS)
def test_a_form_of_clipping_is_within_the_bound(form, dtype):
    random = np.random.default_rng(9)
    w, b = random.normal(size=(500, 4, 3)).astype(dtype), random.normal(size=(500, 3)).astype(dtype)
    gradients, axes = {"a.weight": given(w, dtype), "a.bias": given(b, dtype)}, {"a.weight": (-2, -1), "a.bias": (-1,)}
    bounded = clipped(Norm(maximum=0.3), gradients, axes)["a.weight"]
    assert_covers(bounded, lambda w, b: form(w, b, 0.3), [w, b], random)


# ---------------------------------------------------------------- losses and activations


def entries(table: dict) -> list:
    """A table's forms, each with what it is a form of: a loss, or a kind of activation and its settings."""
    return [
        pytest.param(of, form, id=f"{getattr(of, 'kind', None) or of[0]} {name}")
        for of, forms in table.items()
        for name, form in forms.items()
    ]


def assert_covers(bounded, form, arrays: list, random: np.random.Generator) -> None:
    """Whatever way the form rounds; its functions are an ulp off."""
    for way in ("nearest", "up", "down", "either"):
        arithmetic = Arithmetic(arrays[0].dtype, way, random, roundings_of_functions=2)
        with np.errstate(all="ignore"):
            found = form(*(Program(array, arithmetic) for array in arrays))
        assert budgets(bounded, found.values).max() <= 1, way


def outputs_and_targets(random: np.random.Generator, loss, dtype) -> list[np.ndarray]:
    """(400, 5, 4) of each: half of the targets are 0 or 1, or one-hot."""
    y, t = random.normal(size=(2, 400, 5, 4))
    if loss.kind == "binary_cross_entropy":
        y = 0.5 + 0.499 * np.sin(9 * y)
    if loss.kind == "gaussian_nll":
        t = t[..., :2]
    if loss.kind.endswith("binary_cross_entropy"):
        t = np.where(random.random(t.shape) < 0.5, t > 0, 0.5 + 0.499 * np.sin(9 * t))
    if loss.kind == "softmax_cross_entropy":
        t = np.where(random.random((400, 1, 1)) < 0.5, t == t.max(axis=-1, keepdims=True), softmax(t, axis=-1))
    if loss.kind in ("squared_hinge", "hinge"):
        t = np.where(t > 0, 1, -1)
    return [array.astype(dtype) for array in (y, t)]


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
@pytest.mark.parametrize(("loss", "form"), entries(LOSSES))
def test_a_form_of_a_loss_is_within_the_bound(loss, form, dtype):
    random = np.random.default_rng(5)
    y, t = outputs_and_targets(random, loss, dtype)
    bounded = loss_forward(loss, given(y, dtype), given(t, dtype))
    assert_covers(bounded, lambda y, t: form(y, t, number_of(t)), [y, t], random)


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
@pytest.mark.parametrize(("loss", "form"), entries(DERIVATIVES_OF_LOSSES))
def test_a_form_of_the_derivative_of_a_loss_is_within_the_bound(loss, form, dtype):
    random = np.random.default_rng(6)
    y, t = outputs_and_targets(random, loss, dtype)
    bounded = loss_backward(loss, given(y, dtype), given(t, dtype))
    assert_covers(bounded, lambda y, t: form(y, t, number_of(t)), [y, t], random)


def number_of(t: Program):
    """How many terms a mean has, as a number of the program."""
    return Program(t.shape[-2] * t.shape[-1], t.arithmetic)


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
@pytest.mark.parametrize(("kind", "form"), entries(FORWARD))
def test_a_form_of_an_activation_is_within_the_bound(kind, form, dtype):
    random = np.random.default_rng(7)
    forward, _, settings = rules_of(kind)
    x = (4 * random.normal(size=(2000, 4))).astype(dtype)
    assert_covers(forward(given(x, dtype), **settings), form, [x], random)


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
@pytest.mark.parametrize(("kind", "form"), entries(BACKWARD))
def test_a_form_of_the_derivative_of_an_activation_is_within_the_bound(kind, form, dtype):
    """Of the value that the program itself has computed."""
    random = np.random.default_rng(8)
    forward, backward, settings = rules_of(kind)
    x, dy = (4 * random.normal(size=(2, 2000, 4))).astype(dtype)
    bounded = backward(given(x, dtype), forward(given(x, dtype), **settings), given(dy, dtype), **settings)
    assert_covers(bounded, lambda x, dy: form(x, forward(x, **settings), dy), [x, dy], random)


# ---------------------------------------------------------------- no wider than the widest form


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
def test_a_bound_is_that_of_the_widest_form(dtype):
    """Element by element; the values are the first form's."""
    x, y = given([1.0, 1.0, 3.0], dtype), given([1.0, 3.0, 1.0], dtype)
    forms = (lambda: 1 * x + y), (lambda: x + 1 * y)
    first, second = (form() for form in forms)
    both = by_any_form(x, *forms)
    assert both.value.tolist() == first.value.tolist()
    assert both.bound.tolist() == np.maximum(first.bound, second.bound).tolist()
    assert (first.bound < second.bound).any()
    assert (first.bound > second.bound).any()


def test_where_a_form_leaves_the_range_nothing_is_judged():
    """A correct program may overflow there; the verdict is *out of range*."""
    x = given([1.0, 1e30])
    finite, overflowing = (lambda: 2 * x), (lambda: x * x * 2 / x)
    for forms in ((finite, overflowing), (overflowing, finite)):
        assert by_any_form(x, *forms).bound.tolist() == [overflowing().bound[0], np.inf]


def test_floats_are_computed_by_the_first_form():
    x = np.ones(3, np.float32)
    assert by_any_form(x, lambda: 2 * x, lambda: 3 * x).tolist() == [2, 2, 2]


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
@pytest.mark.parametrize("beta", [0.9, 0.999])
def test_an_average_that_loses_digits_is_refused(beta, dtype):
    """g + β (m - g) rounds numbers as large as g to what (1 - β) g contributes."""
    random, optimizer = np.random.default_rng(3), Adam(learning_rate=0.1, beta1=beta)
    w, g, m, v = (random.normal(size=10_000).astype(dtype) for _ in range(4))
    average = bounds(optimizer, w, g, [m, np.abs(v)], 6, dtype)[1]
    assert budgets(average, g + dtype(beta) * (m - g)).max() > 1
    assert budgets(average, m + dtype(1 - beta) * (g - m)).max() <= 1


@pytest.mark.parametrize("dtype", WIDE_DTYPES)
def test_the_forms_use_what_they_are_allowed(dtype):
    """Some form of sgd with decay comes within a tenth of its bound, however w and g share it."""
    random, optimizer = np.random.default_rng(4), Sgd(learning_rate=0.3, weight_decay=0.7)
    for of_g in (0.1, 1, 10):
        w, g, *_ = operands(random, optimizer, dtype, (1, of_g, 1))
        used = [
            budgets(bounds(optimizer, w, g, [], 0, dtype)[0], program.values).max()
            for form in FORMS
            if form.optimizer.kind == "sgd"
            for way in ("up", "down", "either")
            for arithmetic in [Arithmetic(np.dtype(dtype), way, random)]
            for w_, g_ in [[Program(array, arithmetic) for array in (w, g)]]
            for (program,) in [form.update(optimizer, constants(w_), w_, g_, 1)]
        ]
        assert 0.9 < max(used) <= 1
