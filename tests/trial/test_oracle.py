"""The hand-written derivatives are those of the definition, and the oracle refuses what is not."""

from typing import get_args

import numpy as np
import pytest
from flint import arb

from backproof.cases.format.layers.dense import Dense
from backproof.cases.format.layers.layer import LayerConcept
from backproof.cases.format.layers.table import KINDS
from backproof.cases.format.losses import Loss, SquaredError
from backproof.cases.format.optimizers import Sgd
from backproof.reference.formulas import activations, combining, dense, layers, losses, positions
from backproof.reference.numbers.balls import balls
from tests.trial import oracle
from tests.trial.oracle import QUOTIENT, SERIES, every_setting, method_of, prove, subjects
from tests.trial.planting import planted
from tests.trial.scenarios import members

SUBJECTS = list(subjects())
both_methods = pytest.mark.parametrize("method", [SERIES, QUOTIENT])


def wrong_in(what: str, method: str) -> int:
    """How many derivatives are refused, of the subjects whose name begins like this."""
    proofs = [proof for subject in subjects() if subject.what.startswith(what) for proof in prove(subject, method)]
    assert proofs
    return sum(not proof.agrees for proof in proofs)


def test_every_kind_is_proved():
    """A new layer or loss is, without a line here; with one in the oracle, by series."""
    told = " ".join(subject.what for subject in SUBJECTS)
    assert all(f"{kind} layer" in told for kind in KINDS)
    assert all(f"{kind.kind} (" in told for kind in members(Loss))
    assert {method_of(subject) for subject in SUBJECTS} == {SERIES}


@both_methods
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.what)
def test_backward_is_the_derivative(subject, method):
    proofs = prove(subject, method)
    assert [proof for proof in proofs if not proof.agrees] == []
    assert len(proofs) == sum(map(np.size, subject.arrays.values())) + (method == SERIES)
    assert min(proof.digits for proof in proofs) > 100


def a_little(right):
    """Wrong by 1e-18, relatively."""
    return lambda *operands: right(*operands) * balls(np.array(1 + arb("1e-18"), dtype=object))


def transposed(right):
    return lambda x, y, dy, W, *b: (dy @ W, *right(x, y, dy, W, *b)[1:])  # noqa: N803


def of_one_position(right):
    return lambda x, vector: right(x if x.ndim == 2 else x[:, 0], vector)


WRONG = {
    "a relative error of 1e-18": (activations.tanh_backward, a_little, "tanh layer"),
    "wrong sign": (activations.sigmoid_backward, lambda right: lambda *operands: -right(*operands), "sigmoid layer"),
    "square weight not transposed": (dense.dense_backward, transposed, "dense layer (units 2"),
    "factor 2 missing": (
        losses.squared_error_backward, lambda right: lambda *operands: right(*operands) / 2, "squared_error (",
    ),
    "mean for sum": (
        losses.squared_error_backward, lambda right: lambda loss, y, t: right(loss, y, t) / len(y), "squared_error (",
    ),
    "a bias of one position": (positions.over_rows, of_one_position, "dense layer (units 2, bias True), with"),
    "a slope of one position": (positions.over_rows, of_one_position, "prelu layer (shared False), with"),
    "a skip that passes on the half": (
        combining.skip_backward, lambda right: lambda *xs: tuple(dx / 2 for dx in right(*xs)), "skip layer",
    ),
    "in a network": (activations.tanh_backward, a_little, "networks of tanh"),
}  # fmt: skip


@both_methods
@pytest.mark.parametrize(("rule", "wrong", "what"), WRONG.values(), ids=WRONG)
def test_a_wrong_derivative_is_refused(rule, wrong, what, method):
    with planted(rule, wrong(rule)):
        assert wrong_in(what, method) > 0
    assert wrong_in(what, method) == 0


def test_a_wrong_value_is_refused():
    """The textbook's forward pass is a second opinion on values as well."""
    with planted(activations.tanh_forward, a_little(np.tanh)):
        assert wrong_in("tanh layer", SERIES) > 0


def test_a_derivative_that_is_missing_is_refused():
    def of_values_alone(one, found):
        return [*named(one, found)][: len(one.node.inputs)]

    named = layers.named
    with planted(named, of_values_alone), pytest.raises(LookupError, match=r"layer0\.weight"):
        wrong_in("networks of tanh", SERIES)


def test_a_kind_without_a_textbook_line_is_proved_by_difference_quotients(monkeypatch):
    monkeypatch.delitem(oracle.TEXTBOOK_LAYERS, "tanh")
    methods = {subject.what: method_of(subject) for subject in subjects()}
    assert methods["tanh layer"] == methods["networks of tanh"] == QUOTIENT
    assert methods["sigmoid layer"] == SERIES
    assert wrong_in("tanh layer", "") == 0
    assert "| tanh layer" in (text := oracle.section())
    assert "difference quotient" in text


def test_every_setting_of_a_concept():
    assert [layer.bias for layer in every_setting(Dense)] == [False, True]
    assert {loss.reduction for loss in every_setting(SquaredError)} == set(
        get_args(SquaredError.model_fields["reduction"].annotation)
    )
    assert [optimizer.learning_rate for optimizer in every_setting(Sgd)] == [0.3]


class Weighing(LayerConcept):
    """y = x times the other value: a kind that nobody knows."""

    takes = 2


def test_a_new_kind_is_proved(monkeypatch):
    """Of all that it takes, with positions too."""

    def backward(x, other, _, dy):
        return dy * other, dy * x

    monkeypatch.setitem(KINDS, "weighing", Weighing)
    monkeypatch.setitem(layers.LAYERS, "weighing", (lambda x, other: x * other, backward))
    found = [subject for subject in subjects() if subject.what.startswith("weighing")]
    assert [subject.what for subject in found] == ["weighing layer", "weighing layer, with positions"]
    assert all(proof.agrees for subject in found for proof in prove(subject))
    assert [len(prove(subject)) for subject in found] == [2 * 6, 2 * 18]


def test_counts_are_computed():
    count = sum(len(prove(subject)) for subject in SUBJECTS)
    assert oracle.section().startswith(f"**{count:,} of {count:,} hand-written values and derivatives agree")
    with planted(activations.sigmoid_backward, activations.tanh_backward):
        assert not oracle.section().startswith(f"**{count:,} of")
