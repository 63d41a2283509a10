"""Wrong derivatives of every activation, each called alone: refused and named, unless they change nothing."""

import numpy as np
import pytest

import backproof
from backproof.cases.format.layers.table import KINDS
from backproof.cases.format.network import Node
from backproof.reference.formulas.activations import ACTIVATIONS
from backproof.report.judging.alone.layers import of_layer
from backproof.report.judging.mistakes import derivatives

X = 2 * np.random.default_rng(0).normal(size=(5, 3, 7))
SINGLE = [kind for kind in ACTIVATIONS if kind not in ("identity", "prelu")]
ONES = "a cotangent that is taken for ones"


@pytest.mark.parametrize("kind", SINGLE)
def test_a_wrong_derivative_is_refused_and_named(kind):
    settings = KINDS[kind](name="y").settings
    node = Node("y", kind, ("x",), (), settings, X.shape[1:], {}, {}, "y")
    forward, right = (lambda *of, formula=formula: formula(*of, **settings) for formula in ACTIVATIONS[kind])
    dy, tried = of_layer(kind, {"x": X}, {}).drawn(0), 0
    for words, rule in derivatives.slopes(node):
        wrong = lambda dy, x, rule=rule: rule(node, {}, x, forward(x), dy)[0]  # noqa: E731
        if np.allclose(wrong(dy, X), right(X, forward(X), dy), rtol=1e-9):
            continue
        with pytest.raises(backproof.NotCertified) as refused:
            backproof.certify_layer(kind, (forward, wrong), {"x": X}, **settings)
        told = ONES if "without the cotangent" in words and kind != "softmax" else words.rstrip(",")
        assert told in str(refused.value) or kind == "softmax"
        tried += 1
    assert tried >= 3


def test_the_drawn_cotangent_is_not_what_a_test_draws_by_the_same_seed():
    """A mask of the cotangent in place of x would pass where both are the same numbers."""
    dy = of_layer("relu", {"x": X}, {}).drawn(0)
    assert abs(np.corrcoef(dy.ravel(), X.ravel())[0, 1]) < 0.3
    assert not np.array_equal(dy, of_layer("relu", {"x": X}, {}).drawn(1))
