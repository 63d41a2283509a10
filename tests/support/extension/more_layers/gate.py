"""A gate: one value times the sigmoid of another one, each feature at a temperature of its own."""

import numpy as np

from backproof import LayerConcept, Name, beside


class Gate(LayerConcept):
    """y = a / (1 + exp(-s b)), of a, the value before, b, the value of `by`, and s `NAME.sharpness` (features,)."""

    takes = 2
    shaping = ("by",)
    by: Name

    def sources(self, before):
        """The value before it, and the one that opens it."""
        return (*super().sources(before), self.by)

    def shape(self, *before):
        """That of both."""
        a, b = before
        if a != b:
            raise ValueError(f"expected two values of one shape, found {a} and {b} of {self.by!r}")
        return a

    def parameters(self, *before):
        """The sharpness."""
        return {"sharpness": before[0][-1:]}


def forward(a, b, sharpness):
    """The formula, for every kind of number; its derivative is taken from it."""
    return a / (1 + np.exp(-(b * beside(sharpness, b))))


def torch_forward(a, b, sharpness):
    """The same in PyTorch."""
    import torch

    return a * torch.sigmoid(b * sharpness)


def jax_forward(a, b, sharpness):
    """The same in JAX."""
    import jax

    return a * jax.nn.sigmoid(b * sharpness)
