"""Small inputs on which the product once said something wrong, or too little; what it says of each today.

The cases and functions are in `tests/found/`. Each row says which verdict is right, at which place the first wrong
number is, and which words lead to the fault.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.report.judging.outcome import Result, attempt

pytestmark = pytest.mark.usefixtures("loud_hints")

FOUND = Path(__file__).parent


class Found(NamedTuple):
    """A case, a function of somebody's code, and what is right to say of it.

    Attributes:
        case: the name of the YAML file.
        code: `FILE:FUNCTION`.
        verdict: in every dtype of the case, or by dtype.
        words: what must stand in the message.
    """

    case: str
    code: str
    verdict: str | dict[str, str]
    words: tuple[str, ...] = ()


def said(found: Found, dtype: str) -> Result:
    """What comes of the code on that case."""
    file, function = found.code.split(":")
    problem = materialise(load(FOUND / f"{found.case}.yaml"), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # somebody's code may warn
        return attempt(problem, f"mine={FOUND / file}.py:{function}")


# ---------------------------------------------------------------- kinks, and what may be claimed

AT_KINK = ("step 0, gradient of one.weight at [0, 0]", "expected 0.0 ± 0", "1 of 2 elements is wrong", "relu1")
KINKS = [
    Found("k1", "k1:gradients", "differs", AT_KINK),
    Found("k1", "k1:far_off", "differs", AT_KINK),
    Found("m2", "m2:gradients", "differs", ("step 0, gradient of a.weight at [0, 0]: found -0.4, expected 0.0 ± 0",)),
    Found("r09", "r09b:gradients", "certified"),
    Found("r09", "r09b:wrong_third_class", "differs", ("2 of 6 elements are wrong, all in column 2",)),
]

# ---------------------------------------------------------------- blame

LOSS_IS_RIGHT = "the loss is right, and so is the forward pass"
BLAME = [
    Found("m1", "m1:gradients", "differs", (
        "step 0, gradient of b.weight", LOSS_IS_RIGHT, "every gradient is wrong",
        "look at the backward pass of the sigmoid layer sigmoid2",
    )),
    Found("r02", "r02:gradients", "differs", ("step 0, gradient of readout.weight", LOSS_IS_RIGHT, "relu")),
    Found("r02", "r02:of_the_sum", "differs", ("step 0, loss", "the loss is wrong", "every gradient is wrong")),
    Found("r04", "r04:gradients", "differs", ("step 0, gradient of readout.weight", LOSS_IS_RIGHT, "softmax1")),
    Found("r10", "r10:run", "differs", (
        "step 0, gradient of hidden.weight", LOSS_IS_RIGHT, "4 of 8 elements are wrong",
        "the gradients of readout.weight, readout.bias are right", "the dropout layer drop",
    )),
    Found("r13", "net:updates_first", "differs", ("gradient of hidden.weight", "the way back through readout, tanh1")),
    Found("r13", "net:never_reset", "differs", ("step 1, gradient of readout.weight", "every gradient is wrong")),
    Found("r45", "r45:epsilon_8", {"float64": "differs", "float32": "certified"}),
]  # fmt: skip

# ---------------------------------------------------------------- known mistakes

WOULD = "this is what {} would give".format
END_TO_END = "look at the backward pass of the {} layer {}".format

HINTS = [
    Found(
        "m1",
        "m1:gradients",
        "differs",
        (WOULD("the derivative of sigmoid left out"), END_TO_END("sigmoid", "sigmoid2")),
    ),
    Found(
        "m5", "m5:run", "differs", ("look at what the dense layer b passes back to a.weight; this is what the share",)
    ),
    Found(
        "r51", "r51_layers:run", "differs", ("look at the l2 penalty; this is what the l2 penalty halved would give",)
    ),
    Found("r13", "net:updates_first", "differs", (WOULD("weights that are already updated"),)),
    Found("r13", "net:never_reset", "differs", (WOULD("a gradient that is not reset between steps"),)),
    Found("r13", "net:clip_each", "differs", (WOULD("a clip of each tensor by its own norm, to 0.1,"),)),
    Found("r13", "net:clipped_on_record", "differs", (WOULD("gradients that are clipped to a norm of 0.1"),)),
    Found("r27", "net:schedule_ahead", "differs", (WOULD("the rate of the next step"),)),
    Found("r20", "opt:amsgrad_of_optax", "differs", ("the largest second moment after the correction of the bias",)),
    Found("r21", "opt:epsilon_hat", "differs", (WOULD("epsilon before the correction of the bias"),)),
    Found("r22", "opt:rmsprop_inside", "differs", (WOULD("epsilon inside the root"),)),
    Found("r23", "opt:adam_without_a_power", "differs", (WOULD("1 - β for 1 - βᵗ, the power forgotten,"),)),
    Found("r23", "opt:adam_without_correction", "differs", (WOULD("no correction of the bias"),)),
    Found("r23", "opt:adam_counts_from_2", "differs", (WOULD("updates that are counted from 2"),)),
    Found("r25", "opt:adamw_decay_without_rate", "differs", (WOULD("a weight decay without the learning rate"),)),
    Found(
        "r25", "opt:adamw_decay_afterwards", "differs", (WOULD("a weight decay after the step, of the new parameter,"),)
    ),
    Found("r25", "opt:adamw_coupled", "differs", (WOULD("a coupled weight decay, in the gradient,"),)),
    Found(
        "r02",
        "r02:gradients",
        "differs",
        ("the derivative of relu left out, in every such layer", "a sum over the batch"),
    ),
    Found("r04", "r04:gradients", "differs", ("y - t behind readout, for a cross-entropy of its own behind softmax",)),
    Found(
        "r10",
        "r10:run",
        "differs",
        (WOULD("a mask that is forgotten in the backward pass"), END_TO_END("dropout", "drop")),
    ),
    Found("r41", "r41:gradients", "differs", (WOULD("gelu's tanh form"), "look at the gelu layer gelu1")),
    Found("r45", "r45:numerical", "differs", ("digits lost (a cancellation, a lesser precision, finite differences)",)),
    Found("u1", "u1:descent", "differs", ("every gradient is -0.5 times what is right",)),
    Found("u1", "u1:minus", "differs", (WOULD("a wrong sign, in every gradient,"),)),
]

# ---------------------------------------------------------------- the door for one's own code

NO_LOSS = "the loss is not recorded, so it was not judged"
NAMES = "hidden.weight, hidden.bias, readout.weight, readout.bias"
DOOR = [
    Found("u1", "u1:float64_leaks", {"float64": "certified", "float32": "error"}),
    Found("u1", "u1:no_loss", "certified", (NO_LOSS,)),
    Found("u1", "u1:gradients_alone", "certified", (NO_LOSS,)),
    Found("u1", "u1:transposed", "error", ("gradient of hidden.weight: transposed? expected (2, 3), found (3, 2)",)),
    Found("u1", "u1:keepdims", "error", ("an axis too many (keepdims?): expected (3,), found (1, 3)",)),
    Found("u1", "u1:descent", "differs", ("step 0, gradient of readout.weight at [0, 0]",)),
    Found("u1", "u1:minus", "differs", ("this is what a wrong sign, in every gradient, would give",)),
    Found("u1", "u1:as_list", "certified"),
    Found("u1", "u1:as_torch", "certified"),
    Found("u1", "u1:array_loss", "certified"),
    Found("u1", "u1:other_names", "error", (f"expected the gradients of {NAMES}; found W1, b1, W2, b2",)),
    Found("u1", "u1:printing", "certified"),
    Found("u1", "u1:tuple_of_lists", "error", (f"in a dictionary by parameter: {NAMES}; found a list of 4",)),
    Found("u1", "u1:raises", "error", ("ValueError: matmul", "u1.py:88 in raises: return inputs @ parameters[")),
    Found("u1", "u1:per_sample_loss", "error", ("expected one number for the batch (reduction: mean), found 4 of",)),
    Found("r43", "r48:torch_bce", "differs", ("step 0, gradient of one.weight at [0, 0]",)),
    Found("r43", "r48:torch_tensors", "differs", ("step 0, gradient of one.weight at [0, 0]",)),
    Found("r43", "r48:jax_arrays_64", "certified"),
    Found("r10", "r10:gradients", "unsupported", ("is not given the masks of dropout; add a parameter `masks`",)),
    Found("r10", "r10:run", "differs", ("step 0, gradient of hidden.weight",)),
    Found("r23", "opt:black_box", "certified", ("the state is not recorded: it is followed from the start",)),
    Found(
        "r27",
        "net:schedule_not_recorded",
        "differs",
        (
            "step 0, update of hidden.weight",
            "the learning rates are not recorded: they are taken from the schedule",
        ),
    ),
]

# ---------------------------------------------------------------- right programs

RIGHT = [
    Found("r13", "net:right", "certified"),
    Found("r23", "opt:right", "certified"),
    Found("r27", "net:schedule_right", "certified"),
    Found("r43", "r48:jax_numpy_64", "certified"),
    Found("r45", "r45:right", "certified"),
    Found("r51", "r51_layers:right", "certified"),
    Found("u1", "u1:right", "certified"),
]


ROWS = [*KINKS, *BLAME, *HINTS, *DOOR, *RIGHT]


@pytest.mark.parametrize("found", ROWS, ids=lambda found: f"{found.case}-{found.code}")
def test_found(found):
    """The verdict is right in every dtype of the case, and the message leads to the fault."""
    for dtype in load(FOUND / f"{found.case}.yaml").dtypes:
        result = said(found, dtype)
        right = found.verdict if isinstance(found.verdict, str) else found.verdict[dtype]
        assert result.verdict == right, f"{dtype}: {result.message}"
        for words in found.words:
            assert words in result.message
