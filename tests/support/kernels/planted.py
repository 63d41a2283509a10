"""Wrong kernels, each after one that was released: what was wrong in it, the inputs that hide it, those that show it.

`python planted.py` judges all of them and prints a JSON object: by name the message of each call, empty where it is
certified.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

import backproof

Tensors = dict[str, torch.Tensor]


class Planted(NamedTuple):
    """A wrong kernel.

    Attributes:
        thread: where it was told of.
        kind, function, settings: what is certified; `right` is the function without the mistake.
        shown: inputs with which it is refused; None where another entry has them.
        hidden: inputs with which it is certified, and how; None where no call of `certify_layer` hides it.
        told: a part of the message.
        cotangent: with which it is hidden.
        hostile: whether the hostile inputs show it beside those that hide it.
    """

    thread: str
    kind: str
    function: Callable
    right: Callable
    shown: Tensors | None
    hidden: Tensors | None
    told: str
    settings: dict[str, Any] = {}
    cotangent: torch.Tensor | None = None
    hostile: bool = False


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def kernel(forward: Callable, backward: Callable) -> Callable:
    """An `autograd.Function` of forward(*inputs) and backward(dy, *inputs), as kernels are wrapped."""

    class Kernel(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx, dy):
            return backward(dy, *ctx.saved_tensors)

    return Kernel.apply


def derived(function: Callable) -> Callable:
    """The right backward pass of a function, for kernels that are wrong in one place."""

    def backward(dy, *inputs):
        with torch.enable_grad():
            leaves = [one.detach().requires_grad_() for one in inputs]
            return torch.autograd.grad(function(*leaves), leaves, dy, allow_unused=True)

    return backward


def in_storage_order(x: torch.Tensor) -> torch.Tensor:
    """What a kernel reads that takes a pointer and forgets the strides."""
    contiguous = torch.empty(x.shape).stride()
    return torch.as_strided(x, x.shape, contiguous)


# ---------------------------------------------------------------- root mean square normalisation


def rms(x, w):
    return F.rms_norm(x, (x.shape[-1],), w, 1e-6)


def rms_backward(dy, x, w, r=None, reused=None):
    r = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) if r is None else r
    n, scaled = x * r, dy * w
    dx = r * (scaled - n * (scaled * n).mean(-1, keepdim=True))
    return dx, ((dy if reused is None else reused) * n).flatten(0, -2).sum(0)


def rms_without_weight(dy, x, w):
    return rms_backward(dy, x, w)[0], None


def rms_that_overwrites(dy, x, w):
    return rms_backward(dy.clone(), x, w, reused=dy.mul_(w))


def rms_with_last_statistic(dy, x, w):
    r = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
    return rms_backward(dy, x, w, r=r[-1:].expand_as(r))


def rms_in_whole_blocks(dy, x, w, rows=4):
    dx, _ = rms_backward(dy, x, w)
    whole = len(x) // rows * rows
    return dx, rms_backward(dy[:whole], x[:whole], w)[1]


def pre_norm(x, w):
    return torch.cat([x, rms(x, w)], -1)


def pre_norm_backward(dy, x, w):
    dres, dout = dy.chunk(2, -1)
    return rms_backward(dres + dout, x, w)[0], rms_backward(dout, x, w)[1]


def swiglu(a, b):
    return F.silu(a) * b


def swiglu_in_place(dy, a, b):
    s = torch.sigmoid(a)
    da = dy * b * (s + a * s * (1 - s))
    return da, dy.mul_(a * s)


def pre_norm_right(dy, x, w):
    dres, dout = dy.chunk(2, -1)
    dx, dw = rms_backward(dout, x, w)
    return dres + dx, dw


# ---------------------------------------------------------------- losses


def linear_cross_entropy(x, w, t):
    return -(t * F.log_softmax(x @ w, -1)).sum(-1, keepdim=True)


def without_cotangent(dy, x, w, t):
    dz = torch.softmax(x @ w, -1) - t
    return dz @ w.T, x.T @ dz, None


def with_mean(dy, x, w, t):
    dz = (torch.softmax(x @ w, -1) - t) * dy.mean()
    return dz @ w.T, x.T @ dz, None


def class_in_storage(dy, x, t):
    """p - 1 of the true class from a p that is rounded first."""
    return dy * (torch.softmax(x, -1) - t), None


def softmax_loss(x, t):
    return F.cross_entropy(x.float(), t.float(), reduction="sum").to(x.dtype)


def log_softmax(x):
    return F.log_softmax(x.float(), -1).to(x.dtype)


def kl(y, t):
    return F.kl_div(y, t, reduction="sum")


# ---------------------------------------------------------------- layouts, positions, heads


def silu_of_pointers(dy, x):
    s = torch.sigmoid(x)
    return in_storage_order(dy) * (s + x * s * (1 - s))


def log_softmax_in_storage(dy, x):
    total = torch.zeros_like(dy[..., :1])
    for place in range(dy.shape[-1]):
        total = total + dy[..., place : place + 1]
    return dy - torch.softmax(x, -1) * total


def conv(x, w):
    padded = F.pad(x.mT, (len(w) - 1, 0))
    return F.conv1d(padded, w.flip(0).T[:, None], groups=x.shape[-1]).mT


def conv_backward(dy, x, w):
    dx, dw = derived(conv)(dy, x, w)
    return (dx if x.shape[1] >= len(w) - 1 else dx.roll(1, 1)), dw


def gated(x, g):
    return x * torch.sigmoid(g).repeat_interleave(x.shape[-1] // g.shape[-1], -1)


def gated_backward(dy, x, g):
    _, dg = derived(gated)(dy, x, g)
    return dy * torch.sigmoid(g[..., :1]), dg


def pool(x):
    return F.avg_pool1d(x.mT, 3, 1, 1, count_include_pad=False).mT


def pool_backward(dy, x):
    return F.avg_pool1d(dy.mT, 3, 1, 1, count_include_pad=True).mT


def by_head(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attention(q, k, v, heads, groups, shared=None):
    shared = torch.arange(heads) // (heads // groups) if shared is None else shared
    k, v = by_head(k, groups)[:, shared], by_head(v, groups)[:, shared]
    p = torch.softmax(by_head(q, heads) @ k.mT / k.shape[-1] ** 0.5, -1)
    return (p @ v).transpose(1, 2).flatten(-2)


def attention_backward(change, dy, q, k, v, heads, groups):
    right = derived(partial(attention, heads=heads, groups=groups))(dy, q, k, v)
    return change(right, dy, q, k, v)


def queries_summed_over_samples(right, dy, q, k, v):
    dq, dk, dv = right
    return dq.cumsum(0), dk, dv


def first_head_of_group(right, dy, q, k, v, heads, groups):
    """Only one head of a group writes dk."""
    only = by_head(dy, heads).clone()
    only[:, torch.arange(heads) % (heads // groups) > 0] = 0
    dk = derived(partial(attention, heads=heads, groups=groups))(only.transpose(1, 2).flatten(-2), q, k, v)[1]
    return right[0], dk, right[2]


def divided_by_groups(right, dy, q, k, v, heads, groups):
    """The group of head h is h // groups, in place of h // (heads / groups)."""
    shared = (torch.arange(heads) // groups).clamp(max=groups - 1)
    _, dk, dv = derived(partial(attention, heads=heads, groups=groups, shared=shared))(dy, q, k, v)
    return right[0], dk, dv


def channels_of_keys(right, dy, q, k, v):
    """dp = dy vᵀ over as many channels as keys have."""
    masked = dy.clone()
    masked[..., k.shape[-1] :] = 0
    dq, dk, _ = derived(partial(attention, heads=1, groups=1))(masked, q, k, v)
    return dq, dk, right[2]


def heads_of(heads: int, groups: int, change: Callable, *, needs_heads: bool = True) -> tuple[Callable, Callable]:
    """The wrong kernel of attention with so many heads, and the right one."""
    more = {"heads": heads, "groups": groups}
    change = partial(change, **more) if needs_heads else change
    forward = partial(attention, **more)
    return kernel(forward, partial(attention_backward, change, **more)), forward


def qkv(batch, time, heads, groups, d, e):
    return {
        "q": drawn(batch, time, heads * d, seed=1),
        "k": drawn(batch, time, groups * d, seed=2),
        "v": drawn(batch, time, groups * e, seed=3),
    }


X, W = drawn(6, 8), drawn(8, seed=1)
CLASSES = torch.tensor([0, 2, 4, 1, 3, 2])
TARGETS = F.one_hot(CLASSES, 5).float()
LINEAR = {"x": X, "weight": drawn(8, 5, seed=2), "t": TARGETS}
BF16 = torch.bfloat16
MANY = drawn(4, 256, dtype=BF16)
CONFIDENT = (12 * TARGETS + 0.1 * drawn(6, 5)).to(BF16)
GATE = {"x": drawn(2, 3, 8), "g": drawn(2, 3, 4, seed=1)}
HALVES, SQUARE, WIDE = (2, 5, 4, 4, 2, 3), (2, 5, 4, 2, 2, 2), (2, 5, 6, 3, 2, 2)
SQUARE_HEADS = {"heads": 4, "groups": 2}

PLANTED = {
    "weight gradient is None": Planted(
        "unsloth#4533", "rms_norm", kernel(rms, rms_without_weight), rms, {"x": X, "weight": W}, None,
        "gradient of weight: missing: nothing comes back to it",
    ),
    "cotangent overwritten": Planted(
        "unsloth#4550", "rms_norm", kernel(rms, rms_that_overwrites), rms,
        {"x": X, "weight": W}, None, "the cotangent: changed by the call",
    ),
    "derivative in the buffer of the cotangent": Planted(
        "Liger-Kernel#1305", "swiglu", kernel(swiglu, swiglu_in_place), swiglu, {"a": X, "b": X.flip(0)}, None,
        "the cotangent: changed by the call",
    ),
    "statistic of the last row": Planted(
        "FlagGems#5771", "rms_norm", kernel(rms, rms_with_last_statistic), rms,
        {"x": X, "weight": W}, {"x": X[:1], "weight": W}, "cotangent of x at [0, 0]",
    ),
    "rows behind the last whole block": Planted(
        "Liger-Kernel#182", "rms_norm", kernel(rms, rms_in_whole_blocks), rms,
        {"x": X, "weight": W}, {"x": X[:4], "weight": W}, "the samples from 4 on left out of the sum",
    ),
    "residual through the norm": Planted(
        "quack#53", "pre_norm", kernel(pre_norm, pre_norm_backward), kernel(pre_norm, pre_norm_right),
        {"x": X, "weight": W}, {"x": X, "weight": W}, "cotangent of x",
        cotangent=torch.cat([torch.zeros(6, 8), drawn(6, 8, seed=3)], -1),
    ),
    "cotangent of the terms ignored": Planted(
        "Liger-Kernel#968", "linear_cross_entropy", kernel(linear_cross_entropy, without_cotangent),
        linear_cross_entropy, LINEAR, {"x": X[:1], "weight": LINEAR["weight"], "t": TARGETS[:1]},
        "this is what a cotangent that is taken for ones would give", cotangent=torch.ones(1, 1),
    ),
    "reduction none treated as mean": Planted(
        "Liger-Kernel#678", "linear_cross_entropy", kernel(linear_cross_entropy, with_mean), linear_cross_entropy,
        LINEAR, {"x": X[:1], "weight": LINEAR["weight"], "t": TARGETS[:1]},
        "this is what the mean of the cotangent over the samples in every one",
    ),
    "true class in storage precision": Planted(
        "Liger-Kernel#1329", "softmax_cross_entropy", kernel(softmax_loss, class_in_storage), softmax_loss,
        {"y": CONFIDENT, "t": TARGETS.to(BF16)}, {"y": CONFIDENT[:, [0, 0]], "t": F.one_hot(CLASSES % 2).to(BF16)},
        "cotangent of y", {"reduction": "sum"},
    ),
    "factor of the loss forgotten": Planted(
        "Liger-Kernel#262", "kl_divergence", kernel(kl, lambda dy, y, t: (-t, None)), kl,
        {"y": F.log_softmax(X, -1), "t": torch.softmax(2 * X, -1)},
        {"y": F.log_softmax(X, -1), "t": torch.softmax(2 * X, -1)},
        "a cotangent that is taken for ones", {"reduction": "sum"}, torch.tensor(1.0),
    ),
    "strides forgotten": Planted(
        "FlagGems#1084, flash-attention#355", "silu", kernel(F.silu, silu_of_pointers), F.silu,
        {"x": X}, None, "with a cotangent that is transposed in memory",
    ),
    "sum in storage precision": Planted(
        "anemoi-core#1027", "log_softmax", kernel(log_softmax, log_softmax_in_storage), log_softmax,
        {"x": MANY}, {"x": MANY}, "cotangent of x", cotangent=drawn(4, 256, seed=1).round().to(BF16),
    ),
    "no backward pass": Planted(
        "candle#2168", "rms_norm", lambda x, w: rms(x, w).detach(), rms, {"x": X, "weight": W}, None,
        "cotangent of x: missing: nothing comes back to it",
    ),
    "chunk shorter than the taps": Planted(
        "fla#1140", "causal_conv", kernel(conv, conv_backward), conv,
        {"x": drawn(2, 2, 3), "weight": drawn(4, 3)}, {"x": drawn(2, 6, 3), "weight": drawn(4, 3)},
        "cotangent of x", hostile=True,
    ),
    "gate without the offset of its head": Planted(
        "fla#1115", "head_gate", kernel(gated, gated_backward), gated, GATE,
        {"x": GATE["x"], "g": GATE["g"][..., :1]}, "all in the last 6 of 8 units, 2 to 7",
    ),
    "divisor at the border": Planted(
        "tfjs", "average_pool", kernel(pool, pool_backward), pool, {"x": drawn(2, 6, 3)}, {"x": drawn(2, 6, 3)},
        "all in the first 2 and the last 2 of 6 positions", cotangent=F.pad(drawn(2, 2, 3), (0, 0, 2, 2)),
    ),
    "sums not reset between samples": Planted(
        "TransformerEngine#3216", "attention", *heads_of(4, 2, queries_summed_over_samples, needs_heads=False),
        qkv(2, 5, 4, 2, 2, 3), qkv(1, 5, 4, 2, 2, 3), "all in sample 1;", SQUARE_HEADS, hostile=True,
    ),
    "keys of one head of a group": Planted(
        "fla#384", "attention", *heads_of(4, 2, first_head_of_group), qkv(*HALVES[:2], 4, 2, 2, 3), None,
        "cotangent of k", SQUARE_HEADS,
    ),
    "head index divided by the wrong count": Planted(
        "native-sparse-attention-triton#27", "attention", *heads_of(6, 3, divided_by_groups), qkv(*WIDE), None,
        "cotangent of k", {"heads": 6, "groups": 3},
    ),
    "head index, square": Planted(
        "native-sparse-attention-triton#27", "attention", *heads_of(4, 2, divided_by_groups), None, qkv(*SQUARE),
        "", SQUARE_HEADS,
    ),
    "channels of values masked": Planted(
        "native-sparse-attention-triton#27, fla#6", "attention", *heads_of(1, 1, channels_of_keys, needs_heads=False),
        qkv(2, 5, 1, 1, 2, 4), qkv(2, 5, 1, 1, 4, 4), "cotangent of q", {"heads": 1, "groups": 1},
    ),
}  # fmt: skip
LOSSES = ("softmax_cross_entropy", "kl_divergence")


def message(one: Planted, function: Callable, inputs: Tensors, cotangent: Any = None, *, hostile: bool = False) -> str:
    """What certifying says; nothing where it is certified."""
    certify = backproof.certify_loss if one.kind in LOSSES else backproof.certify_layer
    try:
        certify(one.kind, function, inputs, cotangent, hostile=hostile, **one.settings)
    except backproof.NotCertified as refused:
        return str(refused)
    return ""


def messages(one: Planted) -> dict[str, str | None]:
    """The message with the inputs that show it, with those that hide it, and of the right kernel."""
    found: dict[str, str | None] = {}
    if one.shown:
        found["shown"] = message(one, one.function, one.shown)
        found["right"] = message(one, one.right, one.shown, hostile=True)
    if one.hidden:
        found["hidden"] = message(one, one.function, one.hidden, one.cotangent)
    if one.hostile:
        found["hostile"] = message(one, one.function, one.hidden, hostile=True)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump({name: messages(one) for name, one in PLANTED.items()}, sys.stdout)
