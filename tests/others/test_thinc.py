"""thinc is right in float32, its own dtype; in float64 the constants of its GELUs are seen."""

import pytest

from tests.others.judged import certified, refused

pytest.importorskip("thinc", reason="needs thinc, of the extra test-others")
from thinc.api import Linear, Model, NumpyOps, chain


def gradients_with(activation):
    """Return a function of a network with one of thinc's activations."""
    forward, backward = getattr(NumpyOps(), activation), getattr(NumpyOps(), f"backprop_{activation}")

    def gradients(parameters, inputs, targets):
        hidden, readout = Linear(4, 3), Linear(1, 4)
        for layer, name in ((hidden, "hidden"), (readout, "readout")):
            layer.set_param("W", parameters[f"{name}.weight"].T.copy())
            layer.set_param("b", parameters[f"{name}.bias"])
        between = Model("between", lambda _, x, is_train: (forward(x), lambda dy: backward(dy, x)))
        y, back = chain(hidden, between, readout).begin_update(inputs)
        back((y - targets) / y.dtype.type(y.size))
        found = [(layer.get_grad("W").T, layer.get_grad("b")) for layer in (hidden, readout)]
        return dict(zip(parameters, [*found[0], *found[1]], strict=True))

    return gradients


@pytest.mark.parametrize(("case", "name"), [("gelu_float32", "gelu"), ("gelu_tanh_float32", "gelu_approx")])
def test_gelu_in_its_own_dtype(case, name):
    certified(case, gradients_with(name))


def test_the_constants_of_gelu():
    """Its erf is a polynomial of five terms: the value is up to 2e-7 off, and so are the gradients behind it."""
    assert "gradient of readout.weight at [0, 0]: found 0.0867495814" in refused("gelu", gradients_with("gelu"))


def test_the_constants_of_the_derivative_of_its_approximation():
    """0.797885 and 0.0356774 stand in the derivative alone, which is up to 3e-7 off; what is behind it is right."""
    told = refused("gelu_tanh", gradients_with("gelu_approx"))
    assert "gradient of hidden.weight" in told
    assert "the gradients of readout.weight, readout.bias are right" in told
