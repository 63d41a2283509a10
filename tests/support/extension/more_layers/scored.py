"""A layer of parts: its scores are recorded and judged by themselves."""

from scipy.special import expit

from backproof import LayerConcept, contract



class Scored(LayerConcept):
    """y = x sigmoid(z), with the scores z = x W as a part, and W `NAME.weight` (features, features)."""

    parts = {"scores": ("x0", "weight"), "": ("x0", "scores")}

    def part_shapes(self, *before):
        """The scores have the shape of x."""
        return {"scores": before[0]}

    def parameters(self, *before):
        """The weight."""
        return {"weight": before[0][-1:] * 2}


forward = {
    "scores": lambda x, weight: contract("i,io->o", x, weight),
    "": lambda x, z: x * expit(z),
}


def torch_scores(x, weight):
    """x W in PyTorch."""
    return x @ weight


def torch_gated(x, z):
    """x sigmoid(z) in PyTorch."""
    import torch

    return x * torch.sigmoid(z)


def jax_gated(x, z):
    """x sigmoid(z) in JAX."""
    import jax

    return x * jax.nn.sigmoid(z)


torch_forward = {"scores": torch_scores, "": torch_gated}
jax_forward = {"scores": torch_scores, "": jax_gated}  # `@` is the same word in both
