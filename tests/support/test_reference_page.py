"""The reference page says what the sources say, of every kind, and its kinks are those of the formulas."""

import re
from functools import partial
from itertools import chain
from math import prod

import numpy as np
import pytest

from backproof.cases.format.losses import L1, L2, Loss
from backproof.reference.formulas.losses import loss_backward, penalty_backward
from tests.support.reference_page import ACTIVATIONS, PAGE, SECTIONS, Entry, cases_line, entries, kinks, users
from tests.trial.oracle import every_setting, rules_of, targets_for
from tests.trial.scenarios import members

ENTRIES = {entry.concept: entry for section in SECTIONS for entry in entries(section)}
every_entry = pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.concept.__name__)


@every_entry
def test_an_entry_is_complete(entry: Entry):
    """Equation, settings, both spellings, and shipped cases: those that the page names do use it."""
    assert re.search(r"\w", entry.equation)
    assert entry.equation != entry.concept.__base__.__doc__
    settings = {"name", "inputs", "factor", "reduction", *re.findall(r"`(\w+)`:", entry.settings)}
    assert set(entry.concept.model_fields) <= settings
    assert entry.torch.code
    assert entry.jax.code
    text = PAGE.read_text(encoding="utf-8").partition(f"### `{entry.concept.kind}`\n")[2].partition("\n#")[0]
    named = re.findall(r"\[([\w/]+)\]\(\.\./\.\./cases/\1\.yaml\)", text)
    assert named
    assert set(named) <= set(users()[entry.concept])
    assert cases_line(named) in text.splitlines()


SPELLED = {  # one for each way that a table has an entry
    "relu": ("F.relu", "jax.nn.relu"),
    "gelu": (
        "F.gelu(x, approximate='tanh') if approximate == 'tanh' else x * torch.erfc(-x * 0.5 ** 0.5) / 2",
        "jax.nn.gelu(x, approximate=approximate == 'tanh')",
    ),
    "hard_sigmoid": ("F.relu6(x + 3) / 6", "jax.nn.hard_sigmoid"),
    "huber": ("F.huber_loss(output, targets, delta=delta)", "huber(output - targets, delta)"),
    "hinge": ("F.relu(1 - t * y)", "jax.nn.relu(1 - targets * output)"),
    "adadelta": (
        "torch.optim.Adadelta(parameters, lr=learning_rate, rho=rho, eps=epsilon, weight_decay=weight_decay)",
        "optax.adadelta(learning_rate, rho, epsilon)",
    ),
    "step_decay": (
        "lr_scheduler.StepLR(optimizer, every, factor)",
        "optax.exponential_decay(rate, every, factor, staircase=True)",
    ),
    "value": ("torch.nn.utils.clip_grad_value_(parameters, maximum)", "optax.clip(maximum)"),
}


def test_spellings():
    by_kind = {entry.concept.kind: entry for entry in ENTRIES.values()}
    assert {kind: (by_kind[kind].torch.code, by_kind[kind].jax.code) for kind in SPELLED} == SPELLED
    assert by_kind["adagrad"].torch.refused == {"epsilon_inside": "torch.optim.Adagrad adds epsilon outside the root"}
    moments = "lr=learning_rate, betas=(beta1, beta2), eps=epsilon, weight_decay=weight_decay"
    with_decay = moments.replace("betas", "decoupled_weight_decay=decoupled, betas")
    assert by_kind["adamax"].torch.code == f"torch.optim.Adamax(parameters, {moments})"
    assert by_kind["radam"].torch.code == f"torch.optim.RAdam(parameters, {with_decay})"
    assert by_kind["hard_sigmoid"].torch.about == (
        "Compute relu6(x + 3) / 6; the derivative of F.hardsigmoid is a float32 1/6 in float64 too."
    )
    assert by_kind["softmax_cross_entropy"].torch.mentions == ("by_class",)


# ---------------------------------------------------------------- kinks

ASIDE, JUMP = 1e-11, 1e-6
SETTING = 0.3  # what `every_setting` takes for a number
GRID = np.union1d(np.arange(-8, 8.25, 0.25), [-SETTING, SETTING])


def jumps(derivative, points: np.ndarray) -> np.ndarray:
    """Where the derivatives just beside a point differ."""
    left, right = (derivative(points + side).reshape(len(points), -1) for side in (-ASIDE, ASIDE))
    return (np.abs(right - left) > JUMP).any(axis=1)


def stated(concept, **numbers) -> np.ndarray:
    """Where the equation says what the derivative is, `at x = -1 and x = 1`, `at t y = 1`."""
    places = [re.findall(r"\b([a-z](?: [a-z])?) = (-?\w+)", part) for part in kinks(concept.__doc__)]
    size = len(next(iter(numbers.values())))
    at = [
        prod(numbers[name] for name in left.split()) == (numbers[right] if right in numbers else float(right))
        for left, right in chain(*places)
    ]
    assert bool(at) == bool(places)
    return np.any([np.zeros(size, bool), *at], axis=0)


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.kind)
def test_kinks_of_an_activation(kind):
    """A derivative jumps where the schema says what it is there, and nowhere else."""

    def derivative_of(layer):
        own = [np.full(shape, SETTING) for shape in layer.parameters((2,)).values()]
        rule = rules_of(layer)[1]
        return lambda x: rule(np.stack([x, 0 * x + 0.7], axis=-1), *own, np.tile([1, 0.3], (len(x), 1)))[0]

    found = np.any([jumps(derivative_of(layer), GRID) for layer in every_setting(kind)], axis=0)
    np.testing.assert_array_equal(found, stated(kind, x=GRID))


@pytest.mark.parametrize("moving", [0, 1])
@pytest.mark.parametrize("target", [-1.0, 0.25, 1.0])
@pytest.mark.parametrize("kind", members(Loss), ids=lambda kind: kind.kind)
def test_kinks_of_a_loss(kind, target, moving):
    """The same, of one of two outputs."""

    def derivative_of(loss, y):
        t = np.repeat(targets_for(loss, np.full((1, 1, 2), target)), len(y), axis=0)
        return loss_backward(loss, np.insert(np.full((len(y), 1, 1), 0.7), moving, y[:, None], axis=-1), t)

    losses = list(every_setting(kind))
    t = float(targets_for(losses[0], np.full((1, 2), target))[0, 0])
    points = np.union1d(GRID[np.abs(GRID) < 4], [t, t - SETTING, t + SETTING, 1 / t])
    points = points[(points > 0) & (points < 1)] if kind.kind == "binary_cross_entropy" else points
    found = np.any([jumps(partial(derivative_of, loss), points) for loss in losses], axis=0)
    np.testing.assert_array_equal(found, stated(kind, y=points, t=np.full(len(points), t)))


@pytest.mark.parametrize("kind", [L1, L2], ids=lambda kind: kind.kind)
def test_kinks_of_a_penalty(kind):
    penalty = kind(coefficient=SETTING, parameters=("w",))
    found = jumps(lambda w: sum(penalty_backward((penalty,), "w", w)), GRID)
    np.testing.assert_array_equal(found, stated(kind, w=GRID))


def test_a_kink_that_is_not_stated_is_found():
    assert jumps(np.sign, GRID).tolist() == (GRID == 0).tolist()
    assert kinks("y = x; its derivative has no jump.") == []
