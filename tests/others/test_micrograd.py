"""micrograd's network, number by number, is right."""

import pytest

from tests.others.judged import certified

pytest.importorskip("micrograd", reason="needs micrograd, of the extra test-others")
from micrograd.engine import Value
from micrograd.nn import MLP


def gradients(parameters, inputs, targets):
    net, found = MLP(3, [4, 1]), {}
    for layer, name in zip(net.layers, ("hidden", "readout"), strict=True):
        columns = zip(parameters[f"{name}.weight"].T.tolist(), parameters[f"{name}.bias"].tolist(), strict=True)
        for neuron, (weights, bias) in zip(layer.neurons, columns, strict=True):
            neuron.w, neuron.b = [Value(w) for w in weights], Value(bias)
    terms = [(net(x) - t) ** 2 for x, (t,) in zip(inputs.tolist(), targets.tolist(), strict=True)]
    loss = sum(terms) * (0.5 / len(terms))
    loss.backward()
    for layer, name in zip(net.layers, ("hidden", "readout"), strict=True):
        rows = [[w.grad for w in neuron.w] for neuron in layer.neurons]
        found[f"{name}.weight"] = [*map(list, zip(*rows, strict=True))]
        found[f"{name}.bias"] = [neuron.b.grad for neuron in layer.neurons]
    return loss.data, found


def test_gradients():
    certified("relu", gradients)
