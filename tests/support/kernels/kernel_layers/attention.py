"""Attention of several heads, of which some may share keys and values."""

import numpy as np

from backproof import Count, LayerConcept, contract
from backproof.reference.formulas.activations import softmax_forward


class Attention(LayerConcept):
    """y = softmax(q kᵀ / sqrt(d)) v a head, of q (T, heads d), k (T, groups d) and v (T, groups e).

    Heads in order share a group.
    """

    takes = 3
    heads: Count = 1
    groups: Count = 1

    def shape(self, *before):
        """(T, heads e)."""
        q, _, v = before
        return (*q[:-1], v[-1] // self.groups * self.heads)


def by_head(x, heads):
    """(*steps, samples, heads, T, d) of (*steps, samples, T, heads d)."""
    return np.swapaxes(np.reshape(x, (*x.shape[:-1], heads, x.shape[-1] // heads)), -2, -3)


def forward(q, k, v, heads, groups):
    """softmax(q kᵀ / √d) v, head by head."""
    shared = np.arange(heads) // (heads // groups)
    q, k, v = by_head(q, heads), by_head(k, groups)[..., shared, :, :], by_head(v, groups)[..., shared, :, :]
    p = softmax_forward(contract("qd,kd->qk", q, k) / q.shape[-1] ** 0.5)
    y = np.swapaxes(contract("qk,ke->qe", p, v), -2, -3)
    return np.reshape(y, (*y.shape[:-2], y.shape[-2] * y.shape[-1]))
