"""PyTorch: nn.functional forward, autograd backward, torch.optim updates; and the same compiled.

Independent of `reference/` and of the other frameworks.
"""

import torch

from backproof.backends.torch_autograd.training import run

__all__ = ["PACKAGES", "run", "settings"]

PACKAGES = ("torch",)

torch.set_num_threads(1)


def settings() -> dict[str, str]:
    """Return how the backend computes: `threads`, `x64`, `matrix products`."""
    blas = "MKL" if torch.backends.mkl.is_available() else "torch's own"
    return {"threads": str(torch.get_num_threads()), "x64": "yes", "matrix products": blas}
