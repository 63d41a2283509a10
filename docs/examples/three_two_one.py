"""Gradients of network/three_two_one, by hand.

Train with them, and judge them:

    python -m report cases/network/three_two_one.yaml --backend mine=docs/examples/three_two_one.py:gradients

Until they are filled in they are zeros, and the first one that is wrong is named.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gradients(parameters, inputs, targets):
    """The loss of a batch, and its derivative by every trained parameter, in the dtype of the inputs.

    inputs: (samples, 3); targets: (samples, 1), of classes a 1 at the class.
    """
    hidden_weight = parameters["hidden.weight"]  # (3, 2)
    readout_weight = parameters["readout.weight"]  # (2, 1)

    # Forward, from the inputs on:
    #   hidden, (samples, 2): dense: y = x W + b, with W `NAME.weight` (in, units) and b `NAME.bias` (units,).
    #   sigmoid1, (samples, 2): sigmoid: y = 1 / (1 + exp(-x)).
    #   readout, (samples, 1): dense: y = x W + b, with W `NAME.weight` (in, units) and b `NAME.bias` (units,).
    #   sigmoid2, (samples, 1): sigmoid: y = 1 / (1 + exp(-x)).
    # Loss: squared_error: Terms (y - t)^2. (factor = 0.5, reduction = sum)
    hidden_layer_input = np.dot(inputs, hidden_weight)
    hidden_layer_output = sigmoid(hidden_layer_input)
    output = sigmoid(np.dot(hidden_layer_output, readout_weight))
    error = targets - output
    loss = 0.5 * np.sum(error**2)

    # Backward, from the loss to the first layer:
    output_error_term = error * output * (1 - output)
    hidden_error_term = np.dot(output_error_term, readout_weight.T) * hidden_layer_output * (1 - hidden_layer_output)
    return loss, {
        "hidden.weight": -np.dot(inputs.T, hidden_error_term),  # (3, 2)
        "readout.weight": -np.dot(hidden_layer_output.T, output_error_term),  # (2, 1)
    }
