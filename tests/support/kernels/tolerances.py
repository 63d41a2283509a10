"""`python tolerances.py`: print what fixed tolerances let pass, beside what is refused here, as JSON: a row each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ml_dtypes import bfloat16

from backproof.report.judging.asked import Asked
from backproof.report.judging.asked_layer import of_layer
from backproof.report.judging.asked_others import of_loss
from backproof.report.judging.one_operation import Judge

DTYPES = {"bfloat16": bfloat16, "float32": np.float32}


class Quoted(NamedTuple):
    """A tolerance as a suite has it: |found - expected| <= atol + rtol |expected|, element by element."""

    suite: str
    gradients: str
    dtype: str
    atol: float
    rtol: float
    rule: str = "assert_close"


class Gradient(NamedTuple):
    """A true gradient, and how far a correct program may be from it, of one shape."""

    truth: np.ndarray
    allowance: np.ndarray


MLP, CONV = "SwiGLU MLP (6, 42, 123, 431), weights of the gate", "causal convolution (2, 64, 32), 4 taps, input"
NORM, GATE = "RMSNorm (5, 123, 123), weight", "GEGLU (2, 64, 256), first input"
CLASSES, TINY = "cross-entropy, mean (64, 4096), logits", "cross-entropy, mean (256, 1024), logits"
FUSED = "linear + cross-entropy (8, 512) × (512, 512), {}, weight"
SUM, MEAN = FUSED.format("sum"), FUSED.format("mean")
QUOTED = (
    Quoted("Liger-Kernel, swiglu", MLP, "bfloat16", 1e4, 1e-2),
    Quoted("Liger-Kernel, swiglu", MLP, "float32", 1.0, 1e-5),
    Quoted("Liger-Kernel, geglu", GATE, "bfloat16", 1e-2, 1e-2),
    Quoted("Liger-Kernel, geglu", GATE, "float32", 1e-5, 1e-5),
    Quoted("Liger-Kernel, rms_norm", NORM, "bfloat16", 0.2, 0.02),
    Quoted("Liger-Kernel, rms_norm", NORM, "float32", 1e-4, 1e-6),
    Quoted("Liger-Kernel, cross_entropy", CLASSES, "bfloat16", 1e-8, 5e-2),
    Quoted("Liger-Kernel, cross_entropy", CLASSES, "float32", 1e-8, 1e-6),
    Quoted("Liger-Kernel, fused_linear_cross_entropy", SUM, "bfloat16", 5.0, 50.0),
    Quoted("Liger-Kernel, fused_linear_cross_entropy", MEAN, "bfloat16", 5e-3, 5e-2),
    Quoted("Liger-Kernel, fused_linear_cross_entropy", SUM, "float32", 1e-3, 5e-2),
    Quoted("Liger-Kernel, fused_linear_cross_entropy", MEAN, "float32", 1e-5, 5e-4),
    Quoted("llm.c, test_gpt2", TINY, "float32", 0.02, 0.0),
    Quoted("flash-linear-attention", CONV, "bfloat16", 0.0, 0.005, "rms"),
    Quoted("flash-linear-attention", CONV, "float32", 0.0, 0.005, "rms"),
    Quoted("Unsloth, rms_norm", "RMSNorm (5, 123, 123), input", "bfloat16", 0.05, 0.0, "one-sided"),
    Quoted("Unsloth, rms_norm", NORM, "bfloat16", 0.0, 0.0, "not looked at"),
    Quoted("KernelBench", GATE, "float32", 1e-4, 1e-4, "not looked at"),
)


# ---------------------------------------------------------------- the gradients


def gradients(name: str, dtype: type) -> Gradient:
    """Compute a gradient of a suite's test, of numbers that are drawn as there."""
    generator = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(dtype)

    if name == MLP:
        return of_gate(drawn)
    if name == CONV:
        inputs = {"x": drawn(2, 64, 32), "weight": drawn(4, 32)}
        return found(of_layer("causal_conv", inputs, {}, "float32"), drawn(2, 64, 32), "x")
    if name == GATE:
        inputs = {"a": drawn(2, 64, 256), "b": drawn(2, 64, 256)}
        return found(of_layer("geglu", inputs, {}, "float32"), drawn(2, 64, 256), "a")
    if name in (CLASSES, TINY):
        rows, classes = (64, 4096) if name == CLASSES else (256, 1024)
        inputs = {"y": drawn(rows, classes), "t": generator.integers(classes, size=rows)}
        asked = of_loss("softmax_cross_entropy", inputs, {"reduction": "mean"}, "float32")
        return found(asked, np.ones((), dtype), "y")
    if name in (SUM, MEAN):
        targets = np.eye(512, dtype=dtype)[generator.integers(512, size=8)]
        inputs = {"x": drawn(8, 512), "weight": drawn(512, 512), "t": targets}
        cotangent = np.full((8, 1), 1 if name == SUM else 1 / 8, dtype)
        return found(of_layer("linear_cross_entropy", inputs, {}, "float32"), cotangent, "weight")
    inputs = {"x": drawn(5, 123, 123), "weight": drawn(123)}
    which = "weight" if name == NORM else "x"
    return found(of_layer("rms_norm", inputs, {}, "float32"), drawn(5, 123, 123), which)


def of_gate(drawn) -> Gradient:
    """The gradient of a gate's weight in x ↦ (silu(x G) ⊙ x U) D, operation by operation: that of the first product."""
    x, gate, up, down = drawn(6, 42, 123), drawn(123, 431), drawn(123, 431), drawn(431, 123)
    dh = (drawn(6, 42, 123).astype(float) @ down.T.astype(float)).astype(x.dtype)
    a, b = ((x.astype(float) @ w.astype(float)).astype(x.dtype) for w in (gate, up))
    asked = of_layer("swiglu", {"a": a, "b": b}, {}, "float32")
    da = found(asked, dh, "a").truth.astype(x.dtype)
    return found(of_layer("dense", {"x": x, "weight": gate}, {}, "float32"), da, "weight")


def found(asked: Asked, cotangent: np.ndarray, name: str) -> Gradient:
    """The truth of one derivative, and its allowance."""
    truth = next(check.truth for check in Judge(asked, cotangent).truths if check.tensor == name and name != "loss")
    return Gradient(np.asarray(truth.value[0], float), truth.allowance[0])


# ---------------------------------------------------------------- what passes


def row(quoted: Quoted, of: Gradient) -> dict[str, str]:
    """What passes the tolerance of a suite, and from where on it is refused here."""
    size = np.abs(of.truth)
    return {
        "suite": quoted.suite,
        "gradient": f"{quoted.gradients}, {quoted.dtype}",
        "tolerance": RULES[quoted.rule].format(quoted=quoted),
        "all_pass": all_pass(quoted, size),
        "all_refused": f"{(of.allowance[size > 0] / size[size > 0]).min():.1e}",
        "one_pass": one_pass(quoted, size),
        "one_refused": f"{of.allowance.flat[size.argmax()] / size.max():.1e}",
    }


RULES = {
    "assert_close": "atol {quoted.atol:g}, rtol {quoted.rtol:g}",
    "rms": "root mean square of the error {quoted.rtol:g} of the gradient's",
    "one-sided": "largest (expected − found) {quoted.atol:g}",
    "not looked at": "the gradient is not looked at",
}


def all_pass(quoted: Quoted, size: np.ndarray) -> str:
    """The largest e so that (1 ± e) times the gradient passes."""
    if quoted.rule in ("not looked at", "one-sided"):
        return "anything" if quoted.rule == "not looked at" else "+ anything"
    share = quoted.rtol + (quoted.atol / size.max() if quoted.rule == "assert_close" else 0)
    return f"{share:.1e}" + (", **all zero passes**" if share >= 1 else "")


def one_pass(quoted: Quoted, size: np.ndarray) -> str:
    """The largest error of the largest element that passes, relative to it."""
    if quoted.rule in ("not looked at", "one-sided"):
        return all_pass(quoted, size)
    allowed = quoted.atol + quoted.rtol * size.max()
    if quoted.rule == "rms":
        allowed = quoted.rtol * np.sqrt(np.square(size).sum())
    return f"{allowed / size.max():.1e}"


def rows() -> Iterator[dict[str, str]]:
    """A row for each tolerance."""
    for quoted in QUOTED:
        yield row(quoted, gradients(quoted.gradients, DTYPES[quoted.dtype]))


if __name__ == "__main__":
    json.dump(list(rows()), sys.stdout)
