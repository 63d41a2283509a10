"""Deliberately wrong rules, the mistakes that people make, each with the place where the judge must notice it.

An entry reads: in place of `rule`, the program computes `wrong(rule)`. Everything else of the run is right, so what
follows from the mistake is consistent with it: the loss may well fall.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from scipy.special import erf, expit

from backproof.backends import numpy_reference
from backproof.backends.jax_autograd import activations as jax_activations
from backproof.backends.jax_autograd import losses as jax_losses
from backproof.backends.jax_autograd import optimizers as jax_optimizers
from backproof.backends.torch_autograd import losses as torch_losses
from backproof.backends.torch_autograd import optimizers as torch_optimizers
from backproof.backends.torch_autograd import training as torch_training
from backproof.reference import training
from backproof.reference.formulas import activations, dense, losses, optimizers
from backproof.reference.numbers.bounded import exact
from backproof.reference.numbers.precision import precision_of
from tests.trial.activation_mutants import ACTIVATION_MUTANTS
from tests.trial.examples import RATE
from tests.trial.loss_mutants import LOSS_MUTANTS
from tests.trial.optimizer_mutants import OPTIMIZER_MUTANTS
from tests.trial.planting import Mutant, instead, times
from tests.trial.position_mutants import POSITION_MUTANTS, SAME_WITH_POSITIONS
from tests.trial.sharing_mutants import SAME_IN_OTHER_WORDS, SHARING_MUTANTS

# ---------------------------------------------------------------- how a rule goes wrong


def single(right: Callable) -> Callable:
    """Compute in float32 and convert back."""
    return lambda *operands: right(*(x.astype(np.float32) for x in operands)).astype(operands[0].dtype)


def dx(wrong: Callable) -> Callable:
    """A dense layer's input cotangent by a wrong formula of x, W and dy."""
    return _derivative(0, wrong)


def dW(wrong: Callable) -> Callable:
    """A dense layer's weight gradient, the same."""
    return _derivative(1, wrong)


def db(wrong: Callable) -> Callable:
    """A dense layer's bias gradient, the same."""
    return _derivative(2, wrong)


def _derivative(place: int, wrong: Callable) -> Callable:
    def plant(right):
        def backward(x, y, dy, weight, bias):
            found = right(x, y, dy, weight, bias)
            return *found[:place], wrong(x, weight, dy), *found[place + 1 :]

        return backward

    return plant


def loss(wrong: Callable) -> Callable:
    """A wrong loss, or its derivative, of y, t, the factor and the number of terms; a row is a sample."""
    return lambda _: lambda settings, y, t, _: wrong(y, t, settings.factor, y.size)


def step(wrong: Callable) -> Callable:
    """A wrong update of one parameter, of w and its gradient."""
    return lambda _: lambda optimizer, parameters, gradients, state, _: (
        {path: wrong(w, gradients[path]) for path, w in parameters.items()}, state,
    )  # fmt: skip


def gradients(wrong: Callable) -> Callable:
    """Wrong gradients by path, of the right ones; the cotangents are right."""

    def plant(right):
        def backward(*operands, **how):
            cotangents, found = right(*operands, **how)
            return cotangents, wrong(found)

        return backward

    return plant


def loss_after(asked, rows, now):
    """The loss of a step's batch at the parameters that its update leaves."""
    values, _ = training.forward(asked.network, now.after, now.values["input"])
    return training.total_loss(asked, now.after, values[asked.output], asked.targets[rows[rows >= 0]])


def one(path: str, wrong: Callable) -> Callable:
    """One of several tensors by name, changed."""
    return lambda tensors: tensors | {path: wrong(tensors[path])}


def at_call(number: int, wrong: Callable) -> Callable:
    """Wrong only when it is called for that time, counted from 0."""

    def plant(right):
        calls = iter(range(10**9))
        planted = wrong(right)

        def rule(*operands, **how):
            return (planted if next(calls) == number else right)(*operands, **how)

        return rule

    return plant


def problem(change: Callable) -> Callable:
    """Train another problem than the one that is asked for."""
    return lambda right: lambda asked, *more: right(change(asked), *more)


def batches(change: Callable) -> Callable:
    """Train on other batches."""
    return problem(lambda asked: replace(asked, batches=change(asked.batches)))


def records(change: Callable) -> Callable:
    """Leave something else on record than what was computed, of the step before it and the step."""

    def plant(right):
        def train(*operands):
            before = None
            for now in right(*operands):
                yield change(before or now, now)
                before = now

        return train

    return plant


def final(change: Callable) -> Callable:
    """Leave a changed trajectory."""
    return lambda right: lambda asked: change(right(asked))


# ---------------------------------------------------------------- mistakes with a memory


def accumulated(right):
    """The gradient is not reset between steps."""
    total = {}

    def backward(*operands, **how):
        cotangents, found = right(*operands, **how)
        total.update({path: total.get(path, 0) + gradient for path, gradient in found.items()})
        return cotangents, dict(total)

    return backward


def without_zero_grad(right):
    """PyTorch's `.grad` is not reset between steps."""

    def gradients_of(problem, parameters, *batch):
        kept = {path: parameter.grad for path, parameter in parameters.items()}
        computed = right(problem, parameters, *batch)
        for path, parameter in parameters.items():
            parameter.grad += 0 if kept[path] is None else kept[path]
        return computed

    return gradients_of


def of_the_step_before(right):
    """The backward pass returns the gradients of the step before."""
    last = {}

    def backward(*operands, **how):
        cotangents, found = right(*operands, **how)
        late = dict(last) or found
        last.update(found)
        return cotangents, late

    return backward


def of_the_start(right):
    """The forward pass never sees an updated parameter."""
    first = {}

    def forward(network, numbers, x, **how):
        return right(network, first.setdefault("numbers", numbers), x, **how)

    return forward


def momentum(right):
    """A velocity that nobody asked for."""
    velocity = {}

    def update(optimizer, parameters, found, state, step):
        velocity.update({path: 0.9 * velocity.get(path, 0) + g for path, g in found.items()})
        return right(optimizer, parameters, velocity, state, step)

    return update


def stale(right):
    """The update uses the gradients of the step before."""
    last = {}

    def update(optimizer, parameters, found, state, step):
        used = dict(last) or found
        last.update(found)
        return right(optimizer, parameters, used, state, step)

    return update


def decaying(right):
    """A learning rate that shrinks from step to step."""
    calls = iter(range(10**9))

    def update(optimizer, *operands):
        rate = optimizer.learning_rate / (1 + 0.01 * next(calls))
        return right(optimizer.model_copy(update={"learning_rate": rate}), *operands)

    return update


def every_other(right):
    """The parameters change at every other step only."""
    calls = iter(range(10**9))
    return lambda optimizer, parameters, found, state, step: (
        right(optimizer, parameters, found, state, step) if next(calls) % 2 == 0 else (parameters, state)
    )


def four_allowances_off(gradient, x, dy):
    """One element that lies four times its allowance beside its truth."""
    precision = precision_of(gradient.dtype)
    gradient = gradient.copy()
    gradient[1, 2] += 4 * (exact(x, precision).mT @ exact(dy, precision)).allowance[1, 2]
    return gradient


def with_rate(rate: Callable) -> Callable:
    """Gradient descent with another learning rate, a function of the right one."""
    return lambda right: (
        lambda optimizer, *operands: right(
            optimizer.model_copy(update={"learning_rate": rate(optimizer.learning_rate)}), *operands
        )
    )


def clipped(found: dict) -> dict:
    """Gradients scaled down to a global norm of 0.1."""
    norm = np.sqrt(sum((g * g).sum() for g in found.values()))
    return {path: g * min(1, 0.1 / norm) for path, g in found.items()}


def skipped(right):
    """No update."""
    return lambda optimizer, parameters, found, state, step: (parameters, state)


def twice(right):
    """The update applied two times."""

    def update(optimizer, parameters, found, state, step):
        once, state = right(optimizer, parameters, found, state, step)
        return right(optimizer, once, found, state, step)

    return update


def frozen(path: str) -> Callable:
    """One parameter stays as it is."""
    return lambda right: lambda optimizer, parameters, found, state, step: (
        right(optimizer, parameters, found, state, step)[0] | {path: parameters[path]}, state,
    )  # fmt: skip


def swapped(path: str, other: str) -> Callable:
    """Two parameters of one shape get each other's gradients."""
    return lambda right: (
        lambda optimizer, parameters, found, state, step: right(
            optimizer, parameters, found | {path: found[other], other: found[path]}, state, step
        )
    )


# ---------------------------------------------------------------- names of the rules

dense_forward, dense_backward = dense.dense_forward, dense.dense_backward
sigmoid_forward, sigmoid_backward = activations.sigmoid_forward, activations.sigmoid_backward
tanh_forward, tanh_backward = activations.tanh_forward, activations.tanh_backward
relu_forward, relu_backward = activations.relu_forward, activations.relu_backward
loss_value, loss_slope = losses.loss_forward, losses.loss_backward
sgd, train, backward, forward = optimizers.update, training.train, training.backward, training.forward
ROUNDING = "below the 8 ulp that an elementary function may be off"
ONE = "1 + 1e-8 is 1 in float32"
NO_MISTAKE = "float32 is what was asked for"

MUTANTS = [
    # ------------------------------------------------------------ activations, backward
    Mutant("sigmoid: derivative missing", sigmoid_backward, instead(lambda x, y, dy: dy), "cotangent middle"),
    Mutant("sigmoid: derivative applied twice", sigmoid_backward,
           instead(lambda x, y, dy: dy * (y * (1 - y)) ** 2), "cotangent middle"),
    Mutant("sigmoid: y (1 - y) of the input x", sigmoid_backward,
           instead(lambda x, y, dy: dy * x * (1 - x)), "cotangent middle"),
    Mutant("sigmoid: derivative taken at its output y", sigmoid_backward,
           instead(lambda x, y, dy: dy * expit(y) * (1 - expit(y))), "cotangent middle"),
    Mutant("sigmoid: y - 1 for 1 - y", sigmoid_backward, instead(lambda x, y, dy: dy * y * (y - 1)), "cotangent middle"),
    Mutant("sigmoid: y (1 + y)", sigmoid_backward, instead(lambda x, y, dy: dy * y * (1 + y)), "cotangent middle"),
    Mutant("sigmoid: tanh's derivative", sigmoid_backward, instead(lambda x, y, dy: dy * (1 - y * y)), "cotangent middle"),
    Mutant("sigmoid: cotangent forgotten", sigmoid_backward, instead(lambda x, y, dy: y * (1 - y)), "cotangent middle"),
    Mutant("sigmoid: derivative of a straight line, 1/4", sigmoid_backward,
           instead(lambda x, y, dy: dy / 4), "cotangent middle"),
    Mutant("sigmoid: derivative off by 1e-7", sigmoid_backward, times(1 + 1e-7), "cotangent middle", blind=ROUNDING),
    Mutant("tanh: derivative missing", tanh_backward, instead(lambda x, y, dy: dy), "cotangent hidden"),
    Mutant("tanh: derivative applied twice", tanh_backward,
           instead(lambda x, y, dy: dy * (1 - y * y) ** 2), "cotangent hidden"),
    Mutant("tanh: 1 - x² of the input x", tanh_backward, instead(lambda x, y, dy: dy * (1 - x * x)), "cotangent hidden"),
    Mutant("tanh: derivative taken at its output y", tanh_backward,
           instead(lambda x, y, dy: dy * (1 - np.tanh(y) ** 2)), "cotangent hidden"),
    Mutant("tanh: 1 - y, the square forgotten", tanh_backward,
           instead(lambda x, y, dy: dy * (1 - y)), "cotangent hidden"),
    Mutant("tanh: 1 + y²", tanh_backward, instead(lambda x, y, dy: dy * (1 + y * y)), "cotangent hidden"),
    Mutant("tanh: wrong sign", tanh_backward, times(-1), "cotangent hidden"),
    Mutant("tanh: sigmoid's derivative", tanh_backward, instead(lambda x, y, dy: dy * y * (1 - y)), "cotangent hidden"),
    Mutant("tanh: a factor 2, as if of tanh(2x)", tanh_backward, times(2), "cotangent hidden"),
    Mutant("tanh: derivative off by 1e-7", tanh_backward, times(1 + 1e-7), "cotangent hidden", blind=ROUNDING),
    Mutant("tanh: derivative in float32", tanh_backward, single, "cotangent hidden", blind=NO_MISTAKE),
    Mutant("relu: mask forgotten", relu_backward, instead(lambda x, y, dy: dy), "cotangent gate"),
    Mutant("relu: mask turned around", relu_backward, instead(lambda x, y, dy: dy * (x <= 0)), "cotangent gate"),
    Mutant("relu: mask of the cotangent", relu_backward, instead(lambda x, y, dy: dy * (dy > 0)), "cotangent gate"),
    Mutant("relu: guided, mask of x and of the cotangent", relu_backward,
           instead(lambda x, y, dy: dy * (x > 0) * (dy > 0)), "cotangent gate"),
    Mutant("relu: value in place of its derivative", relu_backward,
           instead(lambda x, y, dy: dy * y), "cotangent gate"),
    Mutant("relu: leaks 0.01 backward", relu_backward,
           instead(lambda x, y, dy: np.where(x > 0, dy, 0.01 * dy)), "cotangent gate"),
    Mutant("relu: mask x >= 0", relu_backward, instead(lambda x, y, dy: dy * (x >= 0)), "cotangent gate", on="kink"),
    Mutant("relu: half a derivative at the kink", relu_backward,
           instead(lambda x, y, dy: dy * np.heaviside(x, 0.5)), "cotangent gate", on="kink"),
    Mutant("identity: cotangent halved", activations.identity_backward, times(0.5), "cotangent readout"),
    # ------------------------------------------------------------ activations, forward
    Mutant("sigmoid: sign of the exponent", sigmoid_forward, instead(lambda x: expit(-x)), "value sigmoid1"),
    Mutant("sigmoid: tanh in its place", sigmoid_forward, instead(np.tanh), "value sigmoid1"),
    Mutant("sigmoid: piecewise linear", sigmoid_forward,
           instead(lambda x: np.clip(x / 6 + 0.5, 0, 1)), "value sigmoid1"),
    Mutant("sigmoid: cut off at 0.45 and 0.55", sigmoid_forward,
           instead(lambda x: np.clip(expit(x), 0.45, 0.55)), "value sigmoid1"),
    Mutant("sigmoid: value off by 1e-7", sigmoid_forward, times(1 + 1e-7), "value sigmoid1", blind=ROUNDING),
    Mutant("sigmoid: value in float32", sigmoid_forward, single, "value sigmoid1", blind=NO_MISTAKE),
    Mutant("tanh: of 2x", tanh_forward, instead(lambda x: np.tanh(2 * x)), "value tanh1"),
    Mutant("tanh: Lambert's fraction, 27 + 9x²", tanh_forward,
           instead(lambda x: x * (27 + x * x) / (27 + 9 * x * x)), "value tanh1"),
    Mutant("tanh: stretched as LeCun's", tanh_forward, instead(lambda x: np.tanh(x * 2 / 3)), "value tanh1"),
    Mutant("relu: absolute value", relu_forward, instead(np.abs), "value relu1"),
    Mutant("relu: leaks 0.01", relu_forward,
           instead(lambda x: np.where(x > 0, x, 0.01 * x)), "value relu1"),
    Mutant("relu: gelu in its place", relu_forward,
           instead(lambda x: x * (1 + erf(x / 2**0.5)) / 2), "value relu1"),
    Mutant("relu: min for max", relu_forward, instead(lambda x: np.minimum(x, 0)), "value relu1"),
    Mutant("identity: values scaled by 1 + 1e-6", activations.identity_forward, times(1 + 1e-6), "value identity1"),
    # ------------------------------------------------------------ dense
    Mutant("dense: square weight transposed", dense_forward,
           lambda right: lambda x, W, b: right(x, W.mT if len(W) == len(W.mT) else W, b), "value hidden"),
    Mutant("dense: bias forgotten", dense_forward, lambda right: lambda x, W, b: right(x, W), "value hidden"),
    Mutant("dense: bias subtracted", dense_forward, lambda right: lambda x, W, b: right(x, W, -b), "value hidden"),
    Mutant("dense: bias added twice", dense_forward, lambda right: lambda x, W, b: right(x, W, b + b), "value hidden"),
    Mutant("dense: bias added to the first sample only", dense_forward,
           lambda right: lambda x, W, b: right(x, W) + b * (np.arange(len(x)) == 0)[:, None], "value hidden"),
    Mutant("dense: first input left out", dense_forward,
           lambda right: lambda x, W, b: right(x[:, 1:], W[1:], b), "value hidden"),
    Mutant("dense: products in float32", dense_forward, single, "value hidden", blind=NO_MISTAKE),
    Mutant("dense: square weight not transposed for dx", dense_backward,
           dx(lambda x, W, dy: dy @ (W if len(W) == len(W.mT) else W.mT)), "cotangent sigmoid1"),
    Mutant("dense: weight reshaped for dx", dense_backward,
           dx(lambda x, W, dy: dy @ W.reshape(W.mT.shape)), "cotangent relu1"),
    Mutant("dense: dx with the updated weight", dense_backward,
           dx(lambda x, W, dy: dy @ (W - RATE * (x.mT @ dy)).mT), "cotangent relu1"),
    Mutant("dense: dx with the sign of the weight", dense_backward,
           dx(lambda x, W, dy: dy @ np.sign(W).mT), "cotangent relu1"),
    Mutant("dense: dx with wrong sign", dense_backward, dx(lambda x, W, dy: -dy @ W.mT), "cotangent relu1"),
    Mutant("dense: dx averaged over the batch", dense_backward,
           dx(lambda x, W, dy: dy @ W.mT / len(dy)), "cotangent relu1"),
    Mutant("dense: dx zero, the graph cut", dense_backward, dx(lambda x, W, dy: 0 * (dy @ W.mT)), "cotangent relu1"),
    Mutant("dense: dx off by 3e-7", dense_backward,
           dx(lambda x, W, dy: dy @ W.mT * (1 + 3e-7)), "cotangent relu1"),
    Mutant("dense: square gradient transposed", dense_backward,
           dW(lambda x, W, dy: (x.mT @ dy).mT if len(W) == len(W.mT) else x.mT @ dy), "gradient gate.weight"),
    Mutant("dense: gradient reshaped", dense_backward,
           dW(lambda x, W, dy: (dy.mT @ x).reshape(W.shape)), "gradient readout.weight"),
    Mutant("dense: gradient averaged over the batch", dense_backward,
           dW(lambda x, W, dy: x.mT @ dy / len(x)), "gradient readout.weight"),
    Mutant("dense: gradient of the first sample only", dense_backward,
           dW(lambda x, W, dy: x[:1].mT @ dy[:1]), "gradient readout.weight"),
    Mutant("dense: gradient with wrong sign", dense_backward, dW(lambda x, W, dy: -(x.mT @ dy)), "gradient readout.weight"),
    Mutant("dense: gradient doubled", dense_backward, dW(lambda x, W, dy: 2 * x.mT @ dy), "gradient readout.weight"),
    Mutant("dense: gradient zero", dense_backward, dW(lambda x, W, dy: 0 * W), "gradient readout.weight"),
    Mutant("dense: gradient with weight decay in it", dense_backward,
           dW(lambda x, W, dy: x.mT @ dy + 1e-3 * W), "gradient readout.weight"),
    Mutant("dense: gradient off by 1e-8", dense_backward,
           dW(lambda x, W, dy: x.mT @ dy * (1 + 1e-8)), "gradient readout.weight", blind=ONE),
    Mutant("dense: gradient in float32", dense_backward,
           dW(lambda x, W, dy: single(np.matmul)(x.mT, dy)), "gradient readout.weight", blind=NO_MISTAKE),
    Mutant("dense: one element four allowances off, step 5", backward,
           at_call(5, lambda right: lambda network, numbers, values, dy, **how: (
               (found := right(network, numbers, values, dy, **how))[0],
               found[1] | {"middle.weight": four_allowances_off(
                   found[1]["middle.weight"], values["tanh1"], found[0]["middle"])})),
           "gradient middle.weight", step=5),
    Mutant("dense: bias gradient missing", dense_backward, db(lambda x, W, dy: 0 * dy.sum(axis=0)), "gradient readout.bias"),
    Mutant("dense: bias gradient averaged over the batch", dense_backward,
           db(lambda x, W, dy: dy.mean(axis=0)), "gradient readout.bias"),
    Mutant("dense: bias gradient of the last sample only", dense_backward,
           db(lambda x, W, dy: dy[-1]), "gradient readout.bias"),
    Mutant("dense: bias gradient with wrong sign", dense_backward,
           db(lambda x, W, dy: -dy.sum(axis=0)), "gradient readout.bias"),
    Mutant("dense: bias gradient summed over the units", dense_backward,
           db(lambda x, W, dy: dy.sum() + 0 * dy[0]), "gradient readout.bias"),
    Mutant("dense: bias gradient in the order of the units turned around", dense_backward,
           db(lambda x, W, dy: dy.sum(axis=0)[::-1]), "gradient readout.bias"),
    Mutant("dense: bias gradient in front of the activation's derivative", backward,
           lambda right: lambda network, numbers, values, dy, **how: (
               (found := right(network, numbers, values, dy, **how))[0],
               found[1] | {"middle.bias": found[0]["sigmoid1"].sum(axis=0)}),
           "gradient middle.bias"),
    # ------------------------------------------------------------ loss
    Mutant("loss: sum for mean", loss_value, loss(lambda y, t, factor, n: factor * np.square(y - t).sum()), "loss"),
    Mutant("loss: mean over the samples only", loss_value,
           loss(lambda y, t, factor, n: factor * np.square(y - t).sum() / len(y)), "loss"),
    Mutant("loss: mean over the outputs only", loss_value,
           loss(lambda y, t, factor, n: factor * np.square(y - t).sum() / len(y.mT)), "loss"),
    Mutant("loss: mean with n - 1", loss_value,
           loss(lambda y, t, factor, n: factor * np.square(y - t).sum() / (n - 1)), "loss"),
    Mutant("loss: absolute error", loss_value, loss(lambda y, t, factor, n: factor * np.abs(y - t).sum() / n), "loss"),
    Mutant("loss: square of the sum", loss_value, loss(lambda y, t, factor, n: factor * (y - t).sum() ** 2 / n), "loss"),
    Mutant("loss: factor forgotten", loss_value, loss(lambda y, t, factor, n: np.square(y - t).sum() / n), "loss"),
    Mutant("loss: root of the mean", loss_value,
           loss(lambda y, t, factor, n: np.sqrt(factor * np.square(y - t).sum() / n)), "loss"),
    Mutant("loss: y + t", loss_value, loss(lambda y, t, factor, n: factor * np.square(y + t).sum() / n), "loss"),
    Mutant("loss: off by 1e-7", loss_value, times(1 + 1e-7), "loss", blind="below what its eight roundings may do"),
    Mutant("loss: mean for sum", loss_value,
           loss(lambda y, t, factor, n: factor * np.square(y - t).sum() / n), "loss", on="sum"),
    Mutant("loss: half forgotten", loss_value, loss(lambda y, t, factor, n: np.square(y - t).sum()), "loss", on="sum"),
    Mutant("loss: predicted and actual swapped in the derivative", loss_slope, times(-1), "cotangent identity1"),
    Mutant("loss: factor 2 of the derivative missing", loss_slope, times(0.5), "cotangent identity1"),
    Mutant("loss: derivative of the sum for the mean's", loss_slope,
           loss(lambda y, t, factor, n: 2 * factor * (y - t)), "cotangent identity1"),
    Mutant("loss: derivative divided by the samples only", loss_slope,
           loss(lambda y, t, factor, n: 2 * factor * (y - t) / len(y)), "cotangent identity1"),
    Mutant("loss: derivative divided by the outputs only", loss_slope,
           loss(lambda y, t, factor, n: 2 * factor * (y - t) / len(y.mT)), "cotangent identity1"),
    Mutant("loss: derivative always divided by a full batch of 3", loss_slope,
           loss(lambda y, t, factor, n: 2 * factor * (y - t) / 6), "cotangent identity1", step=2),
    Mutant("loss: sign of the error for the error", loss_slope,
           loss(lambda y, t, factor, n: 2 * factor * np.sign(y - t) / n), "cotangent identity1"),
    Mutant("loss: cotangent of ones", loss_slope, instead(lambda _, y, *more: np.ones_like(y)), "cotangent identity1"),
    Mutant("loss: clipped to ±0.1, as Huber's", loss_slope,
           lambda right: lambda *operands: np.clip(right(*operands), -0.1, 0.1),
           "cotangent identity1"),
    Mutant("loss: derivative of the mean for the sum's", loss_slope,
           loss(lambda y, t, factor, n: 2 * factor * (y - t) / n), "cotangent sigmoid2", on="sum"),
    Mutant("loss: a 2 too many where ½ cancels it", loss_slope,
           loss(lambda y, t, factor, n: 2 * (y - t)), "cotangent sigmoid2", on="sum"),
    Mutant("loss: targets of the first batch kept", train,
           problem(lambda asked: replace(asked, targets=asked.targets[asked.batches[0, 0]] + 0 * asked.targets)), "loss"),
    # ------------------------------------------------------------ batches and data
    Mutant("batches: in the order of the file", train,
           batches(lambda rows: np.array([[0, 1, 2], [3, 4, 5], [6, -1, -1]] * 3)), "value input"),
    Mutant("batches: off by one", train, batches(lambda rows: np.where(rows >= 0, (rows + 1) % 7, -1)), "value input"),
    Mutant("batches: not reshuffled", train, batches(lambda rows: rows[[0, 1, 2] * 3]), "value input", step=3),
    Mutant("batches: the second one first", train, batches(lambda rows: rows[[1, 0, *range(2, 9)]]), "value input"),
    Mutant("batches: the same one at every step", train, batches(lambda rows: rows[[0] * 9]), "value input", step=1),
    Mutant("batches: samples turned around within", train,
           batches(lambda rows: np.where(rows[:, 1:2] >= 0, rows[:, ::-1], rows)), "value input"),
    Mutant("batches: a sample drawn twice", train,
           batches(lambda rows: np.where(np.arange(3) == 1, np.where(rows >= 0, rows[:, :1], -1), rows)), "value input"),
    Mutant("batches: the last incomplete one dropped", train,
           batches(lambda rows: rows[[0, 1, 3, 4, 6, 7, 0, 1, 3]]), "value input", step=2),
    Mutant("batches: the last incomplete one filled up", train,
           batches(lambda rows: np.where(rows >= 0, rows, rows[:, :1])), "value input", step=2),
    Mutant("batches: last sample of each left out", train,
           batches(lambda rows: np.where(np.arange(3) == 2, -1, rows)), "value input"),
    Mutant("data: inputs standardised", train,
           problem(lambda asked: replace(asked, inputs=asked.inputs / asked.inputs.std())), "value input"),
    Mutant("data: inputs shuffled without their targets", train,
           problem(lambda asked: replace(asked, targets=asked.targets[::-1])), "loss"),
    Mutant("data: columns of the targets swapped", train,
           problem(lambda asked: replace(asked, targets=asked.targets[:, ::-1])), "loss"),
    Mutant("data: inputs rounded to float16", train,
           problem(lambda asked: replace(asked, inputs=asked.inputs.astype(np.float16).astype(asked.dtype))), "value input"),
    # ------------------------------------------------------------ parameters at the start
    Mutant("start: another seed", train,
           problem(lambda asked: replace(asked, parameters=one("middle.weight", np.flip)(asked.parameters))),
           "start middle.weight"),
    Mutant("start: biases zero", train,
           problem(lambda asked: replace(asked, parameters=one("hidden.bias", np.zeros_like)(asked.parameters))),
           "start hidden.bias"),
    Mutant("start: square weight transposed", train,
           problem(lambda asked: replace(asked, parameters=one("gate.weight", lambda W: W.mT)(asked.parameters))),
           "start gate.weight"),
    Mutant("start: one unit in the last place beside", train,
           problem(lambda asked: replace(asked, parameters=one(
               "readout.bias", lambda b: np.nextafter(b, b + 1))(asked.parameters))), "start readout.bias"),
    Mutant("start: rounded to float32 first", train,
           problem(lambda asked: replace(asked, parameters={
               path: w.astype(np.float32).astype(w.dtype) for path, w in asked.parameters.items()})),
           "start hidden.weight", blind=NO_MISTAKE),
    # ------------------------------------------------------------ the training loop
    Mutant("loop: gradients not reset between steps", backward, accumulated, "gradient readout.weight", step=1),
    Mutant("loop: gradients of the step before", backward, of_the_step_before, "gradient readout.weight", step=1),
    Mutant("loop: gradients clipped by norm", backward, gradients(clipped), "gradient readout.weight"),
    Mutant("loop: gradients averaged over the layer", backward,
           gradients(one("middle.weight", lambda g: g.mean() + 0 * g)), "gradient middle.weight"),
    Mutant("loop: noise of 1e-6 on the gradients", backward,
           gradients(one("gate.weight", lambda g: g + 1e-6)), "gradient gate.weight"),
    Mutant("loop: a gradient NaN at step 4", backward,
           at_call(4, gradients(one("hidden.bias", lambda g: g * np.nan))), "gradient hidden.bias", step=4),
    Mutant("loop: backward through the last layer twice", backward,
           lambda right: lambda network, numbers, values, dy, **how: right(network, numbers, values, 2 * dy, **how),
           "cotangent identity1"),
    Mutant("loop: forward pass with the parameters of the start", forward, of_the_start, "value hidden", step=1),
    # ------------------------------------------------------------ the optimizer
    Mutant("sgd: uphill", sgd, step(lambda w, g: w + RATE * g), "update hidden.weight"),
    Mutant("sgd: learning rate forgotten", sgd, step(lambda w, g: w - g), "update hidden.weight"),
    Mutant("sgd: learning rate doubled", sgd, with_rate(lambda rate: 2 * rate), "update hidden.weight"),
    Mutant("sgd: learning rate squared", sgd, with_rate(lambda rate: rate**2), "update hidden.weight"),
    Mutant("sgd: learning rate divided by the batch size", sgd, with_rate(lambda rate: rate / 3), "update hidden.weight"),
    Mutant("sgd: learning rate of another group for biases", sgd,
           lambda right: lambda optimizer, parameters, found, state, step: right(
               optimizer, parameters, {p: g * 2 if p.endswith("bias") else g for p, g in found.items()}, state, step),
           "update hidden.bias"),
    Mutant("sgd: learning rate decays", sgd, decaying, "update hidden.weight", step=1),
    Mutant("sgd: learning rate in float16", sgd, with_rate(lambda rate: float(np.float16(rate))), "update hidden.weight"),
    Mutant("sgd: learning rate in float32", sgd,
           with_rate(lambda rate: float(np.float32(rate))), "update hidden.weight", blind=NO_MISTAKE),
    Mutant("sgd: momentum", sgd, momentum, "update hidden.weight", step=1),
    Mutant("sgd: weight decay 1e-3", sgd,
           step(lambda w, g: w - RATE * (g + 1e-3 * w)), "update hidden.weight"),
    Mutant("sgd: decoupled weight decay 1e-4", sgd,
           step(lambda w, g: w * (1 - 1e-4) - RATE * g), "update hidden.weight"),
    Mutant("sgd: sign of the gradient", sgd, step(lambda w, g: w - RATE * np.sign(g)), "update hidden.weight"),
    Mutant("sgd: gradient of length one", sgd,
           step(lambda w, g: w - RATE * g / np.linalg.norm(g)), "update hidden.weight"),
    Mutant("sgd: gradient clipped to ±0.01", sgd,
           step(lambda w, g: w - RATE * np.clip(g, -0.01, 0.01)), "update hidden.weight"),
    Mutant("sgd: gradients of the step before", sgd, stale, "update hidden.weight", step=1),
    Mutant("sgd: applied twice", sgd, twice, "update hidden.weight"),
    Mutant("sgd: every other step", sgd, every_other, "update hidden.weight", step=1),
    Mutant("sgd: bias frozen", sgd, frozen("gate.bias"), "update gate.bias"),
    Mutant("sgd: first layer frozen", sgd, frozen("hidden.weight"), "update hidden.weight"),
    Mutant("sgd: gradients of two layers swapped", sgd,
           swapped("middle.weight", "gate.weight"), "update middle.weight"),
    Mutant("sgd: square update transposed", sgd,
           step(lambda w, g: w - RATE * (g.mT if w.shape == (3, 3) else g)), "update hidden.weight"),
    Mutant("sgd: update rounded to float16", sgd,
           step(lambda w, g: w - (RATE * g).astype(np.float16).astype(w.dtype)), "update hidden.weight"),
    Mutant("sgd: parameters kept in float32", sgd,
           step(lambda w, g: (w - RATE * g).astype(np.float32).astype(w.dtype)),
           "update hidden.weight", blind=NO_MISTAKE),
    Mutant("sgd: learning rate off by 1e-8", sgd, with_rate(lambda rate: rate * (1 + 1e-8)),
           "update hidden.weight", blind=ONE),
    Mutant("sgd: skipped once, step 7,000", sgd, at_call(7000, skipped), "update hidden.weight", step=7000, on="long"),
    Mutant("sgd: applied twice once, step 6,999", sgd, at_call(6999, twice),
           "update hidden.weight", step=6999, on="long"),
    Mutant("sigmoid: derivative off by 1e-5 once, step 7,050", sigmoid_backward, at_call(2 * 7050, times(1 + 1e-5)),
           "cotangent readout", step=7050, on="long"),
    # ------------------------------------------------------------ what is reported
    Mutant("record: loss of the step before", train, records(lambda before, now: now._replace(loss=before.loss)),
           "loss", step=1),
    Mutant("record: loss after the update", train,
           lambda right: lambda asked, *more: (now._replace(loss=loss_after(asked, rows, now)) for rows, now in zip(
               asked.batches, right(asked, *more), strict=True)), "loss"),
    Mutant("record: gradients of the step before", train,
           records(lambda before, now: now._replace(gradients=before.gradients)), "gradient readout.weight", step=1),
    Mutant("record: parameters after for before", train,
           records(lambda before, now: now._replace(before=now.after)), "start hidden.weight"),
    Mutant("record: parameters before for after", train,
           records(lambda before, now: now._replace(after=now.before)), "update hidden.weight"),
    Mutant("record: sum of the losses so far", train,
           records(lambda before, now: now._replace(loss=now.loss + (before.loss if before is not now else 0))),
           "loss", step=1),
    Mutant("record: cotangents of the inputs forgotten", train,
           records(lambda before, now: now._replace(cotangents=one("input", np.zeros_like)(now.cotangents))),
           "cotangent input"),
    Mutant("record: cotangents of the mean, times the batch size", train,
           records(lambda before, now: now._replace(
               cotangents={name: dy * len(dy) for name, dy in now.cotangents.items()})), "cotangent identity1"),
    Mutant("record: final loss of the last batch", numpy_reference.run,
           final(lambda run: replace(run, final_loss=run.loss[-1])), "loss", step=9),
    Mutant("record: final output of the samples turned around", numpy_reference.run,
           final(lambda run: replace(run, final_values=one("identity1", np.flipud)(run.final_values))),
           "value identity1", step=9),
    # ------------------------------------------------------------ PyTorch
    Mutant("torch: no zero_grad", torch_training.gradients_of, without_zero_grad, "gradient readout.weight",
           step=1, backend="torch"),
    Mutant("torch: SGD with momentum", torch_optimizers.sgd,
           instead(lambda optimizer, parameters: torch.optim.SGD(parameters, lr=RATE, momentum=0.9)),
           "update hidden.weight", step=1, backend="torch"),
    Mutant("torch: SGD with weight_decay", torch_optimizers.sgd,
           instead(lambda optimizer, parameters: torch.optim.SGD(parameters, lr=RATE, weight_decay=1e-4)),
           "update hidden.weight", backend="torch"),
    Mutant("torch: SGD with Nesterov's momentum", torch_optimizers.sgd,
           instead(lambda optimizer, parameters: torch.optim.SGD(parameters, lr=RATE, momentum=0.9, nesterov=True)),
           "update hidden.weight", backend="torch"),
    Mutant("torch: SGD with maximize", torch_optimizers.sgd,
           instead(lambda optimizer, parameters: torch.optim.SGD(parameters, lr=RATE, maximize=True)),
           "update hidden.weight", backend="torch"),
    Mutant("torch: Adam for SGD", torch_optimizers.sgd,
           instead(lambda optimizer, parameters: torch.optim.Adam(parameters, lr=RATE)),
           "update hidden.weight", backend="torch"),
    Mutant("torch: a layer left out of the optimizer", torch_optimizers.sgd,
           instead(lambda optimizer, parameters: torch.optim.SGD(parameters[2:], lr=RATE)),
           "update hidden.weight", backend="torch"),
    Mutant("torch: mse_loss with reduction sum", torch_losses.LOSSES["squared_error"],
           instead(lambda loss, y, t: loss.factor * F.mse_loss(y, t, reduction="sum")), "loss", backend="torch"),
    Mutant("torch: l1_loss", torch_losses.LOSSES["squared_error"],
           instead(lambda loss, y, t: loss.factor * F.l1_loss(y, t)), "loss", backend="torch"),
    Mutant("torch: smooth_l1_loss", torch_losses.LOSSES["squared_error"],
           instead(lambda loss, y, t: 2 * loss.factor * F.smooth_l1_loss(y, t)), "loss", backend="torch"),
    Mutant("torch: output detached in the loss", torch_losses.LOSSES["squared_error"],
           lambda right: lambda loss, y, t: right(loss, y.detach() + 0 * y, t), "cotangent identity1", backend="torch"),
    Mutant("torch: silu for sigmoid", torch.sigmoid, instead(F.silu), "value sigmoid1", backend="torch"),
    Mutant("torch: sigmoid in half precision", torch.sigmoid,
           instead(lambda x: torch.sigmoid(x.half()).to(x.dtype)), "value sigmoid1", backend="torch"),
    Mutant("torch: hardtanh for tanh", torch.tanh, instead(F.hardtanh), "value tanh1", backend="torch"),
    Mutant("torch: tanh through float32", torch.tanh,
           instead(lambda x: torch.tanh(x.float()).to(x.dtype)), "value tanh1", backend="torch", blind=NO_MISTAKE),
    Mutant("torch: leaky_relu for relu", F.relu, instead(F.leaky_relu), "value relu1", backend="torch"),
    Mutant("torch: clamp(min=0) for relu at the kink", F.relu,
           instead(lambda x: x.clamp(min=0)), "cotangent gate", on="kink", backend="torch"),
    Mutant("torch: dropout left on", F.relu,
           instead(lambda x: F.relu(x) * (torch.arange(3) != 1)), "value relu1", backend="torch"),
    # ------------------------------------------------------------ JAX
    Mutant("jax: optax.l2_loss, which halves", jax_losses.of_real_samples,
           instead(lambda loss, y, t, real: loss.factor * jnp.sum(
               jnp.where(real[:, None], optax.l2_loss(y, t), 0)) / (jnp.sum(real) * 2).astype(y.dtype)),
           "loss", backend="jax"),
    Mutant("jax: mean over the padding too", jax_losses.of_real_samples,
           instead(lambda loss, y, t, real: loss.factor * jnp.sum(
               jnp.where(real[:, None], (y - t) ** 2, 0)) / y.size), "loss", step=2, backend="jax"),
    Mutant("jax: momentum in optax.sgd", jax_optimizers.sgd,
           instead(lambda optimizer: optax.sgd(RATE, momentum=0.9)), "update hidden.weight", step=1, backend="jax"),
    Mutant("jax: optax.add_decayed_weights", jax_optimizers.sgd,
           instead(lambda optimizer: optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(RATE))),
           "update hidden.weight", backend="jax"),
    Mutant("jax: stop_gradient behind tanh", jnp.tanh,
           instead(lambda x: jax.lax.stop_gradient(jnp.tanh(x))), "cotangent hidden", backend="jax"),
    Mutant("jax: maximum for relu at the kink", jax.nn.relu,
           instead(lambda x: jnp.maximum(x, 0)), "cotangent gate", on="kink", backend="jax"),
    Mutant("jax: sigmoid through bfloat16", jax_activations.ACTIVATIONS["sigmoid"],
           instead(lambda x: jax.nn.sigmoid(x.astype(jnp.bfloat16)).astype(x.dtype)), "value sigmoid1", backend="jax"),
    *ACTIVATION_MUTANTS,
    *LOSS_MUTANTS,
    *OPTIMIZER_MUTANTS,
    *SHARING_MUTANTS,
    *POSITION_MUTANTS,
]  # fmt: skip

# The same mathematics in other words, and so correct programs: the judge must certify them.
EQUIVALENT = [
    Mutant("sigmoid: 1 / (1 + exp(-x))", sigmoid_forward, instead(lambda x: 1 / (1 + np.exp(-x))), ""),
    Mutant("sigmoid: derivative from the input, σ(x) σ(-x)", sigmoid_backward,
           instead(lambda x, y, dy: dy * expit(x) * expit(-x)), ""),
    Mutant("sigmoid: derivative on the other side, (y - 1) y (-dy)", sigmoid_backward,
           instead(lambda x, y, dy: (y - 1) * y * -dy), ""),
    Mutant("tanh: through exp(-2|x|)", tanh_forward, instead(lambda x: -np.sign(x) * np.expm1(-2 * abs(x)) / (
        1 + np.exp(-2 * abs(x)))), ""),
    Mutant("tanh: derivative 1 / cosh² x", tanh_backward, instead(lambda x, y, dy: dy / np.cosh(x) ** 2), ""),
    Mutant("tanh: derivative (1 - y)(1 + y)", tanh_backward, instead(lambda x, y, dy: dy * (1 - y) * (1 + y)), ""),
    Mutant("relu: (x + |x|) / 2", relu_forward, instead(lambda x: (x + abs(x)) / 2), ""),
    Mutant("relu: mask y > 0 of the output", relu_backward, instead(lambda x, y, dy: np.where(y > 0, dy, 0)), ""),
    Mutant("relu: mask x >= 0 where no x is 0", relu_backward, instead(lambda x, y, dy: dy * (x >= 0)), ""),
    Mutant("dense: inputs turned around", dense_forward, lambda right: lambda x, W, b: right(x[:, ::-1], W[::-1], b), ""),
    Mutant("dense: bias as the weight of an input that is 1", dense_forward,
           instead(lambda x, W, b: np.hstack([x, x[:, :1] * 0 + 1]) @ np.vstack([W, b])), ""),
    Mutant("dense: gradient sample by sample", dense_backward,
           dW(lambda x, W, dy: sum(np.outer(x[i], dy[i]) for i in range(len(x)))), ""),
    Mutant("dense: bias gradient as ones @ dy", dense_backward, db(lambda x, W, dy: np.ones_like(dy[:, 0]) @ dy), ""),
    Mutant("dense: square weight transposed two times", dense_backward, dx(lambda x, W, dy: (W @ dy.mT).mT), ""),
    Mutant("loss: mean of the means", loss_value,
           loss(lambda y, t, factor, n: factor * np.square(y - t).mean(axis=1).mean()), ""),
    Mutant("loss: |t - y|²", loss_value, loss(lambda y, t, factor, n: (factor * abs(t - y) ** 2).sum() / n), ""),
    Mutant("loss: derivative -2 (t - y)", loss_slope, loss(lambda y, t, factor, n: -2 * factor * (t - y) / n), ""),
    Mutant("loss: ½ and 2 cancelled", loss_slope, loss(lambda y, t, factor, n: y - t), "", on="sum"),
    Mutant("sgd: the step added with its sign", sgd, step(lambda w, g: w + -RATE * g), ""),
    Mutant("sgd: a momentum of nothing", torch_optimizers.sgd,
           instead(lambda optimizer, parameters: torch.optim.SGD(parameters, lr=RATE, momentum=0.0, foreach=True)), "",
           backend="torch"),
    Mutant("torch: softplus' derivative for sigmoid", torch.sigmoid, instead(
        lambda x: torch.exp(F.logsigmoid(x))), "", backend="torch"),
    Mutant("jax: loss as a product with itself", jax_losses.of_real_samples,
           instead(lambda loss, y, t, real: loss.factor * jnp.sum(
               jnp.where(real[:, None], (y - t) * (y - t), 0)) / (jnp.sum(real) * 2).astype(y.dtype)), "", backend="jax"),
    *SAME_IN_OTHER_WORDS,
    *SAME_WITH_POSITIONS,
]  # fmt: skip
