"""One operation alone, of torch, JAX or NumPy: certified where it is right, and what is wrong named."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from ml_dtypes import bfloat16
from safetensors.numpy import save_file

import backproof
from backproof.cases.format.layers.table import KINDS
from backproof.reference.formulas.activations import ACTIVATIONS
from tests.backproof.test_planted_kernels import ROOT

GENERATOR = np.random.default_rng(0)
X, W, B = GENERATOR.normal(size=(5, 7)), GENERATOR.normal(size=(7, 3)), GENERATOR.normal(size=3)
DENSE = {"x": X, "weight": W, "bias": B}
RELU = (lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0))


def tensors(arrays, dtype=torch.float32):
    return {name: torch.tensor(array).to(dtype) for name, array in arrays.items()}


def dense_forward(x, weight, bias):
    return x @ weight + bias, (x, weight)


def dense_backward(dy, saved):
    x, weight = saved
    return dy @ weight.T, x.T @ dy, dy.sum(axis=0)


def numpy_layer(kind, forward, backward, inputs, **more):
    return backproof.certify_layer(kind, (forward, backward), inputs, **more)


def refused(function, *arguments, **more):
    with pytest.raises(backproof.NotCertified) as error:
        function(*arguments, **more)
    return str(error.value)


# ---------------------------------------------------------------- right ones


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["silu", "softmax", "sigmoid", "relu", "tanh"])
def test_torch_functions(kind, dtype):
    function = {"softmax": lambda x: torch.softmax(x, -1), "silu": F.silu}.get(kind) or getattr(torch, kind)
    found = backproof.certify_layer(kind, function, tensors({"x": X}, dtype), hostile=True, accumulate=None)
    assert found.dtype == str(dtype).removeprefix("torch.")
    assert 0 < found.budget <= 1 or kind == "relu"
    assert found.elements > 1000
    assert str(found).startswith(f"{kind} {found.dtype}: certified, ")


def test_jax_functions():
    function = jax.custom_vjp(lambda x, weight, bias: x @ weight + bias)
    function.defvjp(
        lambda *inputs: (inputs[0] @ inputs[1] + inputs[2], inputs[:2]), lambda s, dy: dense_backward(dy, s)
    )
    inputs = {name: jnp.asarray(array, jnp.float32) for name, array in DENSE.items()}
    assert backproof.certify_layer("dense", jax.jit(function), inputs, hostile=True).calls > 10
    plain = {name: array.astype(np.float32) for name, array in DENSE.items()}
    assert backproof.certify_layer("dense", function, plain, framework="jax").calls == 2


def test_numpy_functions():
    assert numpy_layer("dense", dense_forward, dense_backward, DENSE, hostile=True).calls > 10
    by_name = lambda dy, x: {"x": dy * (x > 0)}  # noqa: E731
    numpy_layer("relu", lambda x: np.maximum(x, 0), by_name, {"x": X})


def test_inputs_come_in_the_order_in_which_they_are_given():
    forward, backward = (lambda w, x: x @ w), (lambda dy, w, x: (x.T @ dy, dy @ w.T))
    numpy_layer("dense", forward, backward, {"weight": W, "x": X})


def test_layers_of_several_values_and_of_masks():
    two = tensors({"x": X, "other": X + 1})
    backproof.certify_layer("skip", torch.add, two, hostile=True)
    for mask in (torch.tensor(X > 0), torch.tensor(X > 0).float()):
        inputs = tensors({"x": X}) | {"mask": mask}
        backproof.certify_layer("dropout", lambda x, m: x * m / 0.6, inputs, rate=0.4, hostile=True)
    for slope in (0.3, np.full(7, 0.2)):
        backproof.certify_layer("prelu", F.prelu, tensors({"x": X, "slope": np.atleast_1d(slope)}))


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_losses(reduction):
    inputs = {"y": torch.tensor(X), "t": torch.tensor([0, 1, 6, 3, 6])}
    function = lambda y, t: F.cross_entropy(y, t, reduction=reduction)  # noqa: E731
    assert backproof.certify_loss("softmax_cross_entropy", function, inputs, reduction=reduction, hostile=True)
    numbers = {"y": torch.tensor(X), "t": torch.tensor(X[::-1].copy())}
    function = lambda y, t: F.huber_loss(y, t, reduction=reduction)  # noqa: E731
    assert backproof.certify_loss("huber", function, numbers, reduction=reduction, hostile=True)


def test_a_step_of_an_optimizer():
    inputs = tensors({"parameter": B, "gradient": B[::-1].copy(), "velocity": B * B})

    def in_place(w, g, v):
        v.mul_(0.9).add_(g)
        w.sub_(0.1 * v)

    settings = {"learning_rate": 0.1, "momentum": 0.9}
    backproof.certify_update("momentum", in_place, inputs, hostile=True, **settings)
    returned = lambda w, g, v: {"velocity": 0.9 * v + g, "parameter": w - 0.1 * (0.9 * v + g)}  # noqa: E731
    backproof.certify_update("momentum", returned, inputs, **settings)
    told = refused(backproof.certify_update, "momentum", lambda w, g, v: (w - 0.1 * g, v), inputs, **settings)
    assert "state of velocity at [0]: found" in told


def test_the_number_of_the_step_counts():
    names = ("parameter", "gradient", "first_moment", "second_moment")
    inputs = dict(zip(names, (B, B[::-1], B / 3, B * B), strict=True))

    def adam(w, g, m, v, t=4):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v

    backproof.certify_update("adam", adam, inputs, step=np.int64(3), learning_rate=0.1)
    assert "updates that are counted from 0 would give" in refused(
        backproof.certify_update, "adam", adam, inputs, step=4, learning_rate=0.1
    )


# ---------------------------------------------------------------- numbers from anywhere


def numbers():
    y = np.exp(X - X.max(-1, keepdims=True))
    y /= y.sum(-1, keepdims=True)
    dy = np.random.default_rng(1).normal(size=X.shape)
    return dy, {"y": y, "x": y * (dy - (dy * y).sum(-1, keepdims=True))}


def test_numbers_and_a_file_of_them(tmp_path):
    dy, found = numbers()
    assert backproof.certify_numbers("softmax", {"x": X}, dy, found).calls == 1
    of_value = backproof.certify_numbers("softmax", {"x": X}, None, {"y": found["y"]})
    assert of_value.elements == X.size
    assert of_value.resolution is None
    assert str(of_value).endswith("no derivative was judged: there is no cotangent")
    file = tmp_path / "softmax.safetensors"
    save_file({"inputs/x": X, "cotangent": dy, "found/y": found["y"], "found/x": found["x"]}, file)
    assert backproof.certify_numbers("softmax", found=file).elements == 2 * X.size
    told = refused(backproof.certify_numbers, "softmax", {"x": X}, 2 * dy, file)
    assert told.endswith("this is what a missing factor 2 would give")


def test_numbers_of_losses_and_optimizers():
    found = {"loss": np.square(X - 1).sum(), "y": 3 * 2 * (X - 1)}
    more = {"reduction": "sum"}
    backproof.certify_numbers("squared_error", {"y": X, "t": np.ones_like(X)}, np.float64(3), found, **more)
    inputs = {"parameter": X, "gradient": X}
    backproof.certify_numbers("sgd", inputs, found={"parameter": X - 0.1 * X}, learning_rate=0.1)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"y": None}, "value of y: missing"),
        ({"x": None}, "cotangent of x: missing: nothing comes back to it"),
        ({"y": np.ones((7, 5))}, "value of y: expected shape (5, 7), found (7, 5): transpose it"),
        ({"x": X.astype(np.float32)}, "cotangent of x: expected float64, as the inputs are, found float32"),
        ({"x": np.full_like(X, np.nan)}, "cotangent of x: every element is NaN"),
    ],
)
def test_what_is_not_there_is_told(found, told):
    dy, right = numbers()
    assert told in refused(backproof.certify_numbers, "softmax", {"x": X}, dy, right | found)


def test_some_nan_is_counted():
    dy, right = numbers()
    right["x"][1, 2:4] = np.nan
    told = refused(backproof.certify_numbers, "softmax", {"x": X}, dy, right)
    assert "2 of 35 elements are wrong, 2 of them NaN, all in sample 1" in told


# ---------------------------------------------------------------- wrong ones


@pytest.mark.parametrize(
    ("backward", "told"),
    [
        (lambda dy, x, w, _: (dy @ w.T, x.T @ dy, 0 * dy[0]), "this is what a derivative that is never computed would"),
        (lambda dy, x, w, _: (-(dy @ w.T), x.T @ dy, dy.sum(0)), "this is what a wrong sign would give"),
        (lambda dy, x, w, _: (dy @ w.T, x.T @ dy, dy.mean(0)), "a mean over the samples in place of a sum (5)"),
        (lambda dy, x, w, _: (dy @ w.T, x.T @ np.ones_like(dy), dy.sum(0)), "a cotangent that is taken for ones"),
        (lambda dy, x, w, _: (dy @ w.T, 1.25 * x.T @ dy, dy.sum(0)), "every element is 1.25 times what is right"),
        (lambda dy, x, w, _: (dy @ w.T, x[:4].T @ dy[:4], dy.sum(0)), "sample 4 left out of the sum"),
        (lambda dy, x, w, _: (dy @ w.T, x.T @ dy, dy.sum(0)[::-1]), "the units in the order turned around"),
    ],
)
def test_a_known_mistake_is_named(backward, told):
    forward = lambda x, w, b: x @ w + b  # noqa: E731
    message = refused(numpy_layer, "dense", forward, backward, DENSE)
    assert told in message
    assert "look at the backward pass of dense" in message


def test_a_mistake_in_a_large_tensor_is_named_too():
    x = np.random.default_rng(1).normal(size=(400, 300))
    told = refused(numpy_layer, "tanh", np.tanh, lambda _, x: 1 - np.tanh(x) ** 2, {"x": x})
    assert told.endswith("this is what a cotangent that is taken for ones would give")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (lambda w, g, v: (w + 0.05 * (0.9 * v + g), 0.9 * v + g), "a wrong sign"),
        (
            lambda w, g, v: (w - 0.05 * (g + 0.9 * (0.9 * v + g)), 0.9 * v + g),
            "Nesterov's step in place of plain momentum",
        ),
        (lambda w, g, v: (w - 0.05 * g, v), "a state that is not updated"),
        (lambda w, g, v: (w - 0.05 * (0.9 * v + 0.1 * g), 0.9 * v + 0.1 * g), "a dampening"),
        (lambda w, g, v: (w, 0.9 * v + g), "never computed"),
    ],
)
def test_a_mistake_of_an_optimizer_is_named(step, told):
    inputs = {"parameter": X, "gradient": X[::-1], "velocity": X * X}
    more = {"step": 3, "learning_rate": 0.05, "momentum": 0.9}
    assert told in refused(backproof.certify_update, "momentum", step, inputs, **more)


def test_a_gelu_that_cancels_is_told():
    """Of x(1 + erf(x/√2))/2, and not of one that is wrong."""
    x = torch.linspace(-4, 2, 30).reshape(5, 6)
    cancels = lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2  # noqa: E731
    assert refused(backproof.certify_layer, "gelu", cancels, {"x": x}).endswith(
        "look at the forward pass of gelu; 1 + erf cancels for negative x: erfc(-x / sqrt(2)) keeps the digits"
    )
    wrong = lambda x: x * (1 + torch.erf(x / 1.4)) / 2  # noqa: E731
    assert "cancels" not in refused(backproof.certify_layer, "gelu", wrong, {"x": x})


def test_inputs_that_are_mixed_up_are_named():
    square = {"x": X, "weight": X.T @ X, "bias": X[0]}
    square["weight"][0, 1] = 3
    backward = lambda dy, x, w, _: (dy @ w.T, x.T @ dy, dy.sum(0))  # noqa: E731
    told = refused(numpy_layer, "dense", lambda x, w, _: x @ w, backward, square)
    assert told.endswith("look at the forward pass of dense; this is what bias left out would give")
    told = refused(numpy_layer, "dense", lambda x, w, b: x @ w.T + b, backward, square)
    assert told.endswith("look at the forward pass of dense; this is what weight transposed would give")
    inputs = {"parameter": B, "gradient": B[::-1], "velocity": B * B}
    wrong = lambda w, g, v: (w - 0.1 * (0.9 * g + v), 0.9 * g + v)  # noqa: E731
    told = refused(backproof.certify_update, "momentum", wrong, inputs, learning_rate=0.1, momentum=0.9)
    assert told.endswith("look at what momentum remembers; this is what gradient and velocity exchanged would give")


def test_where_the_wrong_elements_lie_is_told():
    def last_columns(dy, x):
        dx = dy * (1 - np.tanh(x) ** 2)
        dx[:, 5:] = 0
        return dx

    told = refused(numpy_layer, "tanh", np.tanh, last_columns, {"x": X})
    assert "10 of 35 elements are wrong, all in the last 2 of 7 units, 5 to 6" in told


def test_what_is_changed_is_named():
    def changes_input(dy, x):
        x *= 2
        return dy * (x > 0)

    told = refused(numpy_layer, "relu", lambda x: np.maximum(x, 0), changes_input, {"x": X})
    assert told == "relu float64: x: changed by the call, and others may still read it"


def test_the_cotangent_in_another_layout():
    """A kernel that reads as many numbers as it needs from the start of the buffer."""
    torch_relu = tensors({"x": X})

    class Pointers(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.relu(x)

        @staticmethod
        def backward(ctx, dy):
            return torch.as_strided(dy, dy.shape, (dy.shape[1], 1)) * (ctx.saved_tensors[0] > 0)

    told = refused(backproof.certify_layer, "relu", Pointers, torch_relu)
    assert told.startswith("relu float32, with a cotangent that is transposed in memory: cotangent of x at")


def slope(x):
    s = torch.sigmoid(x)
    return s + x * s * (1 - s)


def silu_kernel(backward, forward=F.silu):
    """An `autograd.Function` of backward(x, y, dy, what it keeps from call to call)."""
    kept = {}

    class Silu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, y := forward(x))
            ctx.slope = slope(x)
            return y

        @staticmethod
        def backward(ctx, dy):
            return backward(*ctx.saved_tensors, dy, kept, ctx)

    return Silu


def in_gaps(x, _, dy, *__):
    if dy.stride(-1) == 2:
        torch.as_strided(dy, (len(dy), 2 * dy.shape[1]), (2 * dy.shape[1], 1))[..., 1::2] = 0
    return dy * slope(x)


def in_another_dtype(x, _, dy, *__):
    dx = dy * slope(x)
    dy.data = dy.data.double()
    return dx


SECOND = "silu float32, in a second backward pass of the same forward pass: cotangent of x at [0, 0]"


@pytest.mark.parametrize(
    ("backward", "told"),
    [
        (lambda x, _, dy, kept, *__: kept.setdefault("dx", dy * slope(x)).clone(), SECOND),
        (lambda x, _, dy, kept, *__: kept.setdefault("dy", dy.clone()) * slope(x), SECOND),
        (lambda *of: of[-1].slope.mul_(of[2]), SECOND),
        (lambda x, y, dy, *_: y.data.copy_(dy * slope(x)).clone(), "the value y: changed by the backward pass"),
        (lambda x, _, dy, *__: dy * slope(x) * (0 not in dy.stride()), "with a cotangent that is one row expanded"),
        (in_gaps, "every second element of a larger buffer: the cotangent: changed by the call"),
        (in_another_dtype, "the cotangent: changed by the call"),
    ],
)
def test_what_one_backward_pass_does_not_show(backward, told):
    assert told in refused(backproof.certify_layer, "silu", silu_kernel(backward), tensors({"x": X}))


def test_a_numpy_pair_goes_back_twice_from_what_it_saved():
    def destroys(dy, saved):
        saved *= dy
        return saved.copy()

    told = refused(numpy_layer, "tanh", lambda x: (np.tanh(x), 1 - np.tanh(x) ** 2), destroys, {"x": X})
    assert "in a second backward pass" in told
    into_y = lambda dy, y: np.multiply(dy, 1 - y * y, out=y)  # noqa: E731
    told = refused(numpy_layer, "tanh", lambda x: (y := np.tanh(x), y), into_y, {"x": X})
    assert "the value y: changed by the backward pass" in told


def test_a_loss_that_keeps_its_first_cotangent():
    kept = []

    class Terms(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y, t):
            ctx.save_for_backward(y, t)
            return (y - t).square().sum()

        @staticmethod
        def backward(ctx, dy):
            kept.append(dy.clone())
            y, t = ctx.saved_tensors
            return 2 * (y - t) * kept[0], None

    inputs = tensors({"y": X, "t": X[::-1].copy()})
    told = refused(backproof.certify_loss, "squared_error", Terms, inputs, reduction="sum")
    assert "in a second backward pass" in told


@pytest.mark.parametrize(
    ("x", "told"),
    [(X, "silu float32, with inputs that are transposed in memory: value of y"), (X.T, "silu float32: value of y")],
)
def test_the_inputs_in_another_layout(x, told):
    pointers = lambda x: F.silu(torch.as_strided(x, x.shape, (x.shape[1], 1)))  # noqa: E731
    given = {"x": torch.tensor(X, dtype=torch.float32) if x is X else torch.tensor(X, dtype=torch.float32).T}
    assert refused(backproof.certify_layer, "silu", pointers, given).startswith(told)


def test_an_optimizer_that_takes_pointers():
    def step(w, g):
        flat = np.lib.stride_tricks.as_strided(g, g.shape, (g.shape[1] * g.itemsize, g.itemsize))
        return w - 0.1 * flat

    told = refused(backproof.certify_update, "sgd", step, {"parameter": X, "gradient": X[::-1]}, learning_rate=0.1)
    assert told.startswith("sgd float64, with inputs that are transposed in memory: update of parameter")


def test_an_input_without_derivative_leaves_the_others_right():
    class Dense(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, bias):
            ctx.save_for_backward(x, weight)
            return x @ weight + bias

        @staticmethod
        def backward(ctx, dy):
            x, weight = ctx.saved_tensors
            return dy @ weight.T * (1 if ctx.needs_input_grad[2] else 2), x.T @ dy, dy.sum(0)

    told = refused(backproof.certify_layer, "dense", Dense, tensors(DENSE))
    assert told.startswith("dense float32, with bias not differentiated: cotangent of x at [0, 0]")


def test_a_layout_that_a_function_does_not_support_is_passed_over():
    def contiguous(x):
        if not x.is_contiguous():
            raise backproof.Unsupported("contiguous rows only")
        return F.silu(x)

    found = backproof.certify_layer("silu", contiguous, tensors({"x": X}))
    assert found.passed_over[0] == "with inputs that are transposed in memory: contiguous rows only"


def test_every_operation_rounded_is_told_of_16_bits():
    function = lambda x: x * torch.sigmoid(x)  # noqa: E731
    inputs = {"x": torch.tensor(np.random.default_rng(1).normal(size=(8, 64))).bfloat16()}
    told = refused(backproof.certify_layer, "silu", function, inputs)
    assert told.endswith("if every operation inside rounded to bfloat16: if that is what it does, say accumulate=None")
    backproof.certify_layer("silu", function, inputs, accumulate=None)


def test_half_a_unit_of_16_bits_is_what_a_result_may_be_off():
    """A silu in bfloat16, rounded right, is certified; the number beside one, on its far side, is not."""
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(bfloat16)
    wide = x.astype(np.float64)
    exact = wide / (1 + np.exp(-wide))
    y = exact.astype(bfloat16)
    backproof.certify_numbers("silu", {"x": x}, None, {"y": y})
    beside, at = y.copy(), (2, 3)
    is_above = abs(float(y[at])) > abs(exact[at])
    beside.view(np.int16)[at] += 1 if is_above else -1
    told = refused(backproof.certify_numbers, "silu", {"x": x}, None, {"y": beside})
    assert "value of y at [2, 3]" in told
    assert "1 of 32 elements is wrong" in told


def test_numbers_that_prove_nothing_are_not_certified():
    """A derivative below the smallest number, of which zeros would be right as well."""
    tiny = torch.tensor(X, dtype=torch.float32) * 1e-40
    told = refused(backproof.certify_layer, "tanh", torch.tanh, tensors({"x": X}), tiny)
    assert "undecided: cotangent of x: no element of it is larger than its allowance" in told


@pytest.mark.parametrize(
    ("inputs", "forward", "backward", "told"),
    [
        ({"bias": 0 * B}, lambda x, w, _: x @ w, lambda dy, x, w, _: (dy @ w.T, x.T @ dy, dy.sum(0)), "bias: value of"),
        ({"x": 0 * X}, dense_forward, lambda dy, s: (dy @ s[1].T, 0 * s[1], dy.sum(0)), "x: gradient of weight"),
    ],
)
def test_equal_inputs_hide_nothing(inputs, forward, backward, told):
    message = refused(numpy_layer, "dense", forward, backward, DENSE | inputs)
    assert f"with drawn numbers in place of the equal ones of {told}" in message


def test_a_mask_of_ones_hides_nothing():
    told = refused(
        backproof.certify_layer, "dropout", lambda x, _: x / 0.5, tensors({"x": X, "mask": 0 * X + 1}), rate=0.5
    )
    assert told.startswith("dropout float32, with drawn numbers in place of the equal ones of mask: value of y")


def test_a_state_of_zeros_hides_nothing():
    inputs = {"parameter": X, "gradient": X[::-1], "velocity": 0 * X}
    forgets = lambda w, g, _: (w - 0.1 * g, g.copy())  # noqa: E731
    told = refused(backproof.certify_update, "momentum", forgets, inputs, learning_rate=0.1, momentum=0.9)
    assert "in place of the equal ones of velocity: state of velocity" in told
    inputs = {"parameter": X, "gradient": X[::-1], "first_moment": 0 * X, "second_moment": 0 * X}

    def adam(w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.1 * (m / (1 - 0.9)) / (np.sqrt(v / (1 - 0.999)) + 1e-8), m, v

    assert not backproof.certify_update("adam", adam, inputs, learning_rate=0.1).passed_over
    without = lambda w, g, *_: adam(w, g, 0, 0)  # noqa: E731
    told = refused(backproof.certify_update, "adam", without, inputs, learning_rate=0.1)
    assert "the equal ones of first_moment and second_moment: state of" in told


def test_a_derivative_that_is_0_everywhere_is_told():
    inputs = tensors({"x": np.abs(X), "slope": np.linspace(0.1, 0.2, 7)})
    found = backproof.certify_layer("prelu", F.prelu, inputs)
    assert found.unproved == ("slope",)
    assert "nothing was proved of slope: its derivative is 0 here" in str(found)
    assert not backproof.certify_layer("prelu", F.prelu, inputs | tensors({"x": X})).unproved


# ---------------------------------------------------------------- what is no such operation


@pytest.mark.parametrize(
    ("kind", "inputs", "more", "told"),
    [
        ("sigmoidd", {"x": X}, {}, "there is no layer 'sigmoidd'; did you mean 'sigmoid'?"),
        ("relu", {"X": X}, {}, "relu: expected the inputs x; x is missing"),
        ("dense", {"x": X, "wieght": W}, {}, "did you mean 'weight'?"),
        ("dense", {"x": X, "weight": W.T}, {}, "weight: expected (in, out) = (7, 3), found (3, 7): transpose it"),
        ("elu", {"x": X}, {"alhpa": 1.0}, "unknown key 'alhpa'; did you mean 'alpha'?"),
        ("relu", {"x": X[0]}, {}, "x: expected (samples, *positions, features), found (7,)"),
        ("relu", {"x": X.astype(int)}, {}, "x: expected numbers of float64"),
        ("relu", {"x": X + np.inf}, {}, "x holds numbers that are not finite"),
        ("relu", {"x": X}, {"cotangent": np.ones((5, 7))}, "all its elements are equal"),
        ("relu", {"x": X}, {"cotangent": np.ones(5)}, "the cotangent: expected float64 of shape (5, 7)"),
        ("relu", {"x": X}, {"accumulate": "bfloat16"}, "accumulate: expected float32 or float64"),
        ("relu", {"x": torch.tensor(X)}, {}, "the inputs are of torch"),
        ("dropout", {"x": X}, {"rate": 0.5}, "mask is missing"),
        (["tanh"], {"x": X}, {}, "expected the kind of layer as a text, found a list"),
        (None, {"x": X}, {}, "expected the kind of layer as a text, found nothing"),
        ("tanh", {"x": X}, {"seed": -1}, "seed: expected a whole number from 0 on, found -1"),
        ("tanh", {"x": X}, {"seed": "a"}, "seed: expected a whole number from 0 on, found 'a'"),
        ("tanh", {"x": X}, {"nosuch": 1}, "tanh: unknown key 'nosuch'; it has no settings"),
        ("tanh", {"x": X}, {"name": "y"}, "tanh: name belongs to a layer of a network"),
        ("tanh", {"x": [[1, 2], [3]]}, {}, "x: expected an array, found a list whose rows differ in length"),
        ("skip", {"x": X, "other": W}, {}, "skip: expected as many of both; other has 7 samples, x has 5"),
        ("skip", {"x": X, "other": W[:5]}, {}, "skip: expected a layer of width 7"),
    ],
)
def test_what_is_no_layer_is_told(kind, inputs, more, told):
    with pytest.raises(ValueError, match=r".") as error:
        backproof.certify_layer(kind, RELU, inputs, **more)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("function", "arguments", "more", "told"),
    [
        ("layer", ("relu", np.tanh, {"x": X}), {}, "expected a pair (forward, backward)"),
        ("loss", ("hinge", RELU, {"y": X, "t": X}), {}, "missing key 'reduction'"),
        ("loss", ("huber", RELU, {"y": X, "t": W}), {"reduction": "sum"}, "t: expected shape (5, 7), found (7, 3)"),
        (
            "update",
            ("adam", np.tanh, {"parameter": X, "gradient": X}),
            {"learning_rate": 0.1},
            "first_moment is missing",
        ),
        ("numbers", (["tanh"], {"x": X}, None, {}), {}, "expected the kind of layer, loss or optimizer as a text"),
        (
            "update",
            ("sgd", np.subtract, {"parameter": X, "gradient": X}),
            {"learning_rate": 0.1, "step": True},
            "step: expected a whole number from 0 on, found True",
        ),
        ("numbers", ("sofmax", {"x": X}, None, {}), {}, "no layer, loss or optimizer 'sofmax'; did you mean"),
        ("numbers", ("softmax", {"x": X}, None, {"x": X}), {}, "a derivative needs the cotangent"),
    ],
)
def test_what_does_not_fit_is_told(function, arguments, more, told):
    with pytest.raises(ValueError, match=r".") as error:
        getattr(backproof, f"certify_{function}")(*arguments, **more)
    assert told in str(error.value)


def test_an_exception_of_the_function_is_raised_as_it_is():
    def broken(*_):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as error:
        numpy_layer("relu", lambda x: np.maximum(x, 0), broken, {"x": X})
    assert error.value.__notes__ == ["backproof called it with the given inputs"]


def test_what_a_function_does_not_support_is_passed_over():
    def even_rows(x):
        if len(x) % 2:
            raise backproof.Unsupported("rows in pairs")
        return torch.relu(x)

    found = backproof.certify_layer("relu", even_rows, tensors({"x": X[:4]}), hostile=True)
    assert found.passed_over[:2] == (
        "1 samples in place of 4: rows in pairs",
        "9 samples in place of 4: rows in pairs",
    )
    with pytest.raises(backproof.Unsupported):
        backproof.certify_layer("relu", even_rows, tensors({"x": X}))


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
def test_a_result_that_is_computed_in_float32_and_rounded_once_is_certified(kind, dtype):
    settings = KINDS[kind](name="y").settings
    inputs = {"x": 3 * np.random.default_rng(1).normal(size=(32, 16))} | (
        {"slope": np.array([0.3])} if kind == "prelu" else {}
    )
    inputs, dy = (
        {name: array.astype(dtype) for name, array in inputs.items()},
        np.random.default_rng(2).normal(size=(32, 16)).astype(dtype),
    )
    x, *others = (array.astype(np.float32) for array in inputs.values())
    forward, backward = ACTIVATIONS[kind]
    y = forward(x, *others, **settings)
    derivatives = backward(x, y, dy.astype(np.float32), *others, **settings)
    derivatives = derivatives if isinstance(derivatives, tuple) else (derivatives,)
    found = dict(zip(("y", *inputs), (y, *derivatives), strict=True))
    found = {name: np.asarray(array).astype(dtype) for name, array in found.items()}
    assert backproof.certify_numbers(kind, inputs, dy, found).budget <= 1


def test_the_tightest_tolerance_would_have_been_right():
    x = torch.tensor(X, dtype=torch.float32)
    found = backproof.certify_layer("silu", F.silu, {"x": x})
    exact = F.silu(x.double())
    torch.testing.assert_close(F.silu(x).double(), exact, **found.tightest)
    torch.testing.assert_close(F.silu(x).double(), exact, **found.tightest_relative)
    off = exact + 1.01 * found.tightest["atol"]
    with pytest.raises(AssertionError):
        torch.testing.assert_close(off, exact, **found.tightest)


def test_a_framework_that_is_not_used_is_not_imported():
    program = """
import sys, numpy as np, backproof
backproof.certify_layer("relu", (lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0)), {"x": np.eye(3)})
print({"torch", "jax"} & {*sys.modules})
import torch
backproof.certify_layer("relu", torch.relu, {"x": torch.eye(3)})
print({"jax"} & {*sys.modules})
"""
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "set()\nset()\n"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "naive"),
    [
        ("softmax", lambda x: torch.exp(x) / torch.exp(x).sum(-1, keepdim=True)),
        ("sigmoid", lambda x: torch.exp(x) / (1 + torch.exp(x))),
        ("softplus", lambda x: torch.log1p(torch.exp(x))),
    ],
)
def test_an_exponential_that_overflows_is_shown_by_hostile_inputs(kind, naive, dtype):
    inputs = tensors({"x": X}, dtype)
    told = "numbers whose exponential overflows: value of y at .*found (nan|inf)"
    with pytest.raises(backproof.NotCertified, match=told):
        backproof.certify_layer(kind, naive, inputs, hostile=True, accumulate=None)
