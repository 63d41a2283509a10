"""scikit-learn's multilayer perceptrons: right for one output; Adam's epsilon stands before the correction."""

import numpy as np
import pytest

from tests.others.judged import certified, refused

pytest.importorskip("sklearn", reason="needs scikit-learn, of the extra test-others")
from sklearn.neural_network import MLPRegressor
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer


def gradients(parameters, inputs, targets):
    net = MLPRegressor(activation="tanh", alpha=0)
    net.n_layers_, net.n_outputs_, net.out_activation_ = 3, targets.shape[1], "identity"
    (w1, b1, w2, b2), none = parameters.values(), [None, None]
    net.coefs_, net.intercepts_ = [w1, w2], [b1, b2]
    layers = [inputs, np.empty((len(inputs), 4), inputs.dtype), np.empty_like(targets)]
    loss, weights, biases = net._backprop(inputs, targets, None, layers, [*none], [*none], [*none])
    return loss, dict(zip(parameters, [weights[0], biases[0], weights[1], biases[1]], strict=True))


def updates(kind, **settings):
    def update(parameters, gradients, state, step):
        optimizer = state.get("optimizer") or kind([*parameters.values()], **settings)
        optimizer.update_params([*parameters.values()], [*gradients.values()])
        return parameters, {"optimizer": optimizer}

    return update


def test_gradients():
    certified("mlp", gradients)


def test_the_gradient_of_several_outputs_is_a_sum_where_the_loss_is_a_mean():
    """Its training is the same but for the rate; its `loss_` and its gradients are those of two functions."""
    told = refused("two_outputs", gradients)
    assert "the loss is right" in told
    assert "a sum over the outputs in place of a mean (2), in every gradient" in told


def test_nesterovs_momentum():
    certified("nesterov", updates(SGDOptimizer, learning_rate_init=0.1, momentum=0.9, nesterov=True))


def test_adam():
    adam = updates(AdamOptimizer, learning_rate_init=0.01, epsilon=1e-7)
    certified("adam_hat", adam)
    assert "this is what epsilon before the correction of the bias would give" in refused("adam", adam)
