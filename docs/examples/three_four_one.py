"""The 3-4-1 network of a tutorial, as it stands, and three lines that hand its gradients over.

python -m report cases/xor/three_four_one.yaml --backend mine=docs/examples/three_four_one.py:gradients
"""

import numpy as np


class NeuralNetwork:
    def __init__(self):
        np.random.seed(10)
        self.wij = np.random.rand(3, 4)  # input to hidden layer weights
        self.wjk = np.random.rand(4, 1)  # hidden layer to output weights

    def sigmoid(self, x, w):
        z = np.dot(x, w)
        return 1 / (1 + np.exp(-z))

    def sigmoid_derivative(self, x, w):
        return self.sigmoid(x, w) * (1 - self.sigmoid(x, w))

    def gradients(self, x, y):
        Xi = x
        Xj = self.sigmoid(Xi, self.wij)
        yhat = self.sigmoid(Xj, self.wjk)
        # gradients for hidden to output weights
        g_wjk = np.dot(Xj.T, (y - yhat) * self.sigmoid_derivative(Xj, self.wjk))
        # gradients for input to hidden weights
        g_wij = np.dot(
            Xi.T,
            np.dot((y - yhat) * self.sigmoid_derivative(Xj, self.wjk), self.wjk.T)
            * self.sigmoid_derivative(Xi, self.wij),
        )
        return yhat, g_wij, g_wjk

    def gradient_descent(self, x, y, iterations):
        for _ in range(iterations):
            yhat, g_wij, g_wjk = self.gradients(x, y)
            self.wij += g_wij
            self.wjk += g_wjk
        print("The final prediction from neural network are: ")
        print(yhat)


def gradients(parameters, inputs, targets):
    network = NeuralNetwork()
    network.wij, network.wjk = parameters["hidden.weight"], parameters["readout.weight"]
    yhat, g_wij, g_wjk = network.gradients(inputs, targets)
    # The class adds what it calls gradients: they point downhill.
    return np.sum((targets - yhat) ** 2) / 2, {"hidden.weight": -g_wij, "readout.weight": -g_wjk}
