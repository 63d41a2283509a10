"""The output layer of a language model and its loss in one: no logits are kept."""

import numpy as np

from backproof import LayerConcept, contract
from backproof.reference.formulas.activations import log_softmax_forward


class LinearCrossEntropy(LayerConcept):
    """y = -sum_c t_c log(softmax(x W)_c) of each row, t (a 1 at the class), W `NAME.weight` (in, classes)."""

    shaping = ("classes",)
    classes: int

    def shape(self, *before):
        """A term a row."""
        return (*before[0][:-1], 1)

    def parameters(self, *before):
        """The weight."""
        return {"weight": (before[0][-1], self.classes)}

    def masks(self, *before):
        """The targets, which have no derivative."""
        return {"t": (*before[0][:-1], self.classes)}

    def given_masks(self):
        """None: they are inputs."""
        return {"t": None}


def forward(x, weight, t):
    """-Σ t log softmax(x W)."""
    return -(t * log_softmax_forward(contract("i,io->o", x, weight))).sum(axis=-1, keepdims=True)


def backward(x, y, dy, weight, t):
    """dz = dy (softmax - t),  dx = dz Wᵀ,  dW = Σ x dz."""
    dz = dy * (np.exp(log_softmax_forward(contract("i,io->o", x, weight))) - t)
    flat = [np.reshape(z, (*z.shape[: weight.ndim - 2], -1, z.shape[-1])) for z in (x, dz)]
    return contract("o,io->i", dz, weight), contract("ni,no->io", *flat)
