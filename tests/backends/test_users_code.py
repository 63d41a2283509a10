"""Somebody's own code as a backend: functions in files, packages, a file to begin with, the examples of the docs."""

import ast
import importlib.metadata
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from backproof.backends import __main__ as command
from backproof.backends import registry
from backproof.backends.registry import chosen, describe, known
from backproof.backends.returned import as_array
from backproof.backends.users_template import template
from backproof.cases.format.schema import CASES
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.report.__main__ import main
from backproof.report.judging.outcome import attempt
from tests.conftest import SMALL

EXAMPLES = CASES.parent / "docs" / "examples"
NAMES = "hidden.weight, hidden.bias, readout.weight"
RIGHT = """\
import numpy as np

def gradients(parameters, inputs, targets):
    h = np.tanh(inputs @ parameters["hidden.weight"] + parameters["hidden.bias"])
    y = 1 / (1 + np.exp(-(h @ parameters["readout.weight"])))
    dy = (y - targets) * y * (1 - y)
    dh = dy @ parameters["readout.weight"].T * (1 - h * h)
    found = {"hidden.weight": inputs.T @ dh, "hidden.bias": dh.sum(axis=0), "readout.weight": h.T @ dy}
    return np.sum((y - targets) ** 2) / 2, found
"""


@pytest.fixture
def own(tmp_path, problem_of):
    """Judge a function of a file with this text, on the small problem."""

    def judge(text: str, function: str = "gradients", **changes):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return attempt(problem_of(**changes), f"mine={path}:{function}")

    return judge


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_gradients_are_certified_end_to_end(tmp_path, problem_of, dtype):
    (tmp_path / "mine.py").write_text(RIGHT)
    result = attempt(problem_of(dtype), f"mine={tmp_path / 'mine.py'}:gradients")
    assert (result.backend, result.verdict, result.message) == ("mine", "certified", "")
    assert result.judgement.scope == "gradients"
    assert result.judgement.ledger.steps == 40
    assert result.judgement.resolution.relative < {"float64": 1e-11, "float32": 1e-3}[dtype]


@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ("dh = dy @", "dh = -dy @", "step 0, gradient of hidden.weight"),
        ("h.T @ dy}", "-h.T @ dy}", "step 0, gradient of readout.weight"),
        ("(1 - h * h)", "(1 - h * h) * (1 + 1e-9)", "step 0, gradient of hidden.weight"),
        ("** 2) / 2", "** 2)", "step 0, loss"),
    ],
)
def test_wrong_gradients_are_named(own, right, wrong, where):
    result = own(RIGHT.replace(right, wrong))
    assert result.verdict == "differs"
    assert result.message.startswith(where)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def gradients(parameters, inputs, targets): return 1", f"by parameter: {NAMES}; found an int in their place"),
        (
            "def gradients(parameters, inputs, targets): return None",
            f"by parameter: {NAMES}; found None in their place",
        ),
        ("def gradients(parameters, inputs, targets): return inputs", "found float64 of shape (3, 2) in their place"),
        (
            "def gradients(parameters, inputs, targets): return 1.0, {}",
            f"expected the gradients of {NAMES}; found none",
        ),
        ("def gradients(parameters, inputs, targets): return 1.0, {'a': 1}", f"gradients of {NAMES}; found a"),
        (RIGHT.replace(', "readout.weight": h.T @ dy', ""), "gradient of readout.weight: missing"),
        (
            RIGHT.replace("h.T @ dy}", "h.T @ dy, 'x': h}"),
            f"gradient of x: nothing of that name is trained; the trained parameters are {NAMES}",
        ),
        (
            RIGHT.replace("h.T @ dy}", "(h.T @ dy).T}"),
            "gradient of readout.weight: transposed? expected (3, 1), found (1, 3)",
        ),
        (
            RIGHT.replace("h.T @ dy}", "np.float32(h.T @ dy)}"),
            "gradient of readout.weight: expected float64, found float32; compute in the dtype of the inputs",
        ),
        (
            RIGHT.replace("h.T @ dy}", "(h.T @ dy)[None]}"),
            "an axis too many (keepdims?): expected (3, 1), found (1, 3, 1)",
        ),
        (RIGHT.replace("h.T @ dy}", "[1, 2, 3]}"), "gradient of readout.weight: expected shape (3, 1), found (3,)"),
        (
            RIGHT.replace("h.T @ dy}", "[[1], [2], []]}"),
            "expected numbers of shape (3, 1), found a list whose rows differ",
        ),
        (
            RIGHT.replace("h.T @ dy}", "None}"),
            "gradient of readout.weight: expected numbers of shape (3, 1), found None",
        ),
        (RIGHT.replace("h.T @ dy}", "dy.dtype}"), "expected numbers of shape (3, 1), found a Float64DType"),
        (
            RIGHT.replace("    return np.sum", "    if y[0, 0] < 0.3: return found\n    return np.sum"),
            "a loss is returned at some steps, but none at step 4",
        ),
        ("def gradients(x): return x.no_such_thing", "AttributeError"),
        ("def gradients(x, y): return 1", "expected a function of (parameters, inputs, targets), or (parameters, grad"),
        ("def gradient(a, b, c): pass", "has no function 'gradients'; did you mean 'gradient'?"),
        ("x = 1", "has no function 'gradients'; it has no function"),
        ("def gradients(problem): return 3", "run(problem) returns a Trajectory or a mapping, not a int"),
        ("def gradients(problem): return {'valeus/x': 3}", "a run has nothing called 'valeus/x'; expected steps, loss"),
        ("import", "SyntaxError: invalid syntax"),
    ],
)
def test_what_a_function_gets_wrong_is_told(own, text, message):
    result = own(text)
    assert result.verdict == "error"
    assert message in result.message


def test_a_module_that_is_missing_is_no_traceback(own, tmp_path):
    path = tmp_path / "mine.py"
    result = own("import no_such_module")
    assert (result.verdict, result.message) == (
        "missing", f"{path} can't import no_such_module: No module named 'no_such_module'",
    )  # fmt: skip


def test_a_function_may_keep_its_arrays_and_write_into_its_arguments(own):
    text = RIGHT.replace("    return np", "    parameters['hidden.bias'][:] = 9; inputs[:] = 9\n    return np")
    text += "\nkept = {}\nonce = gradients\ndef gradients(p, x, t):\n    loss, found = once(p, x, t)\n"
    text += "    for k, v in found.items():\n        kept.setdefault(k, v.copy())[...] = v\n    return loss, kept\n"
    assert own(text).verdict == "certified"


def test_dropout_is_unsupported(own):
    network = [{"dense": {"name": "a", "units": 1, "bias": False}}, {"dropout": {"rate": 0.5}}]
    changes = {"parameters": {"a.weight": [[1], [1]]}, "random": {"generator": "pcg64", "seed": 0}}
    result = own(RIGHT, network=network, **changes)
    assert result.verdict == "unsupported"
    assert "is not given the masks of dropout; add a parameter `masks`" in result.message


MASKED = """\
import numpy as np

def gradients(parameters, inputs, targets, masks):
    mask = masks.get("dropout1.mask", 0.5) * 2
    y = inputs @ parameters["a.weight"] * mask
    return np.sum((y - targets) ** 2) / 2, {"a.weight": inputs.T @ ((y - targets) * mask)}
"""


def test_gradients_may_take_masks(own):
    """They are those of the step, and none for the loss of all samples in the end."""
    network = [{"dense": {"name": "a", "units": 1, "bias": False}}, {"dropout": {"rate": 0.5}}]
    changes = {"network": network, "parameters": {"a.weight": [[1], [1]]}, "random": {"generator": "pcg64", "seed": 0}}
    assert own(MASKED, **changes).verdict == "certified"
    assert own(MASKED.replace("* 2", "* 1.5"), **changes).verdict == "differs"
    assert own(RIGHT.replace("inputs, targets)", "inputs, targets, masks=None)")).verdict == "certified"


# ---------------------------------------------------------------- what is taken


TAKEN = [
    "lambda a: a.tolist()", "torch.tensor", "lambda a: torch.tensor(a, requires_grad=True)", "jnp.asarray",
    "lambda a: types.SimpleNamespace(tolist=a.tolist)",
]  # fmt: skip
TAKE = """
import types
_right = gradients
def gradients(parameters, inputs, targets):
    import jax, torch, jax.numpy as jnp
    jax.config.update("jax_enable_x64", True)
    loss, found = _right(parameters, inputs, targets)
    take = {}
    return take(np.asarray(loss)), {{name: take(a) for name, a in found.items()}}
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("take", TAKEN)
def test_tensors_of_frameworks_and_lists_are_taken(tmp_path, problem_of, take, dtype):
    (tmp_path / "mine.py").write_text(RIGHT + TAKE.format(take))
    result = attempt(problem_of(dtype), f"mine={tmp_path / 'mine.py'}:gradients")
    assert (result.verdict, result.message) == ("certified", "")


def test_a_bfloat16_tensor_is_an_array():
    import torch
    from ml_dtypes import bfloat16

    found = as_array(torch.tensor([1.5, -0.1], dtype=torch.bfloat16, requires_grad=True), np.dtype(bfloat16))
    assert found.dtype == bfloat16
    assert found.tolist() == [1.5, float(bfloat16(-0.1))]


def test_numbers_without_a_dtype_are_rounded_once():
    """bfloat16 from a number that float32 would round onto a tie."""
    from ml_dtypes import bfloat16

    above = 1 + 2**-8 + 2**-40
    assert as_array([above], np.dtype(bfloat16))[0] == 1 + 2**-7
    assert as_array(above, np.dtype(bfloat16)) == 1 + 2**-7
    assert as_array([0.1, 1], np.dtype(np.float32)).tolist() == [float(np.float32(0.1)), 1]
    assert as_array("0.1", np.dtype(np.float32)) == "0.1"


def test_arrays_of_jax_in_float32_say_how_to_have_float64():
    """Somebody's loss, differentiated by JAX as it comes."""
    import jax

    found, case = Path(__file__).parents[1] / "found", load(Path(__file__).parents[1] / "found" / "r43.yaml")
    with jax.enable_x64(False):
        single, double = (
            attempt(materialise(case, dtype), f"mine={found / 'r48.py'}:jax_arrays") for dtype in ("float32", "float64")
        )
    assert (single.verdict, double.verdict) == ("certified", "error")
    assert double.message == (
        "the loss, gradient of one.weight: expected float64, found float32; "
        'JAX has float64 only after jax.config.update("jax_enable_x64", True)'
    )


@pytest.mark.parametrize("take", ["lambda a: a.tolist()", "torch.tensor"])
def test_the_arrays_of_a_run_are_taken_too(tmp_path, problem_of, take):
    text = f"""\
import torch
from backproof.backends import numpy_reference
from backproof.backends.trajectory import flat
def run(problem):
    problem.parameters["hidden.bias"][:] = 0.1  # they are its own
    take = {take}
    found = flat(numpy_reference.run(problem))
    return {{name: take(a) for name, a in found.items()}}
"""
    (tmp_path / "mine.py").write_text(text)
    problem = problem_of(parameters={**SMALL["parameters"], "hidden.bias": [0.1, 0.1, 0.1]})
    result = attempt(problem, f"mine={tmp_path / 'mine.py'}:run")
    assert (result.verdict, result.message) == ("certified", "")


SHORT_BATCHES = """\
import numpy as np
import torch
from backproof.backends import numpy_reference
from backproof.backends.trajectory import flat

def by_step(name, array, samples, take):
    if name == "steps" or name.startswith("final"):
        return array
    short = name.startswith(("values/", "cotangents/"))
    return [take(x[:n] if short else x) for x, n in zip(array, samples)]

def run(problem):
    samples = (problem.batches >= 0).sum(axis=1)
    return {name: by_step(name, x, samples, TAKE) for name, x in flat(numpy_reference.run(problem)).items()}
"""
BATCHES = {
    "training": {"steps": 6, "batch": {"size": 2}, "optimizer": {"momentum": {"learning_rate": 0.3, "momentum": 0.9}}}
}


@pytest.mark.parametrize("steps", [6, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "take",
    [
        "lambda a: a",
        "lambda a: a.tolist()",
        "lambda a: torch.tensor(a, requires_grad=True)",
        "lambda a: [*a] if a.ndim else a",
    ],
)
def test_a_list_of_arrays_is_taken_with_the_rows_of_short_batches(tmp_path, problem_of, take, dtype, steps):
    """Every second batch has one sample in place of two."""
    (tmp_path / "mine.py").write_text(SHORT_BATCHES.replace("TAKE", take))
    problem = problem_of(dtype, training=BATCHES["training"] | {"steps": steps})
    result = attempt(problem, f"mine={tmp_path / 'mine.py'}:run")
    assert (result.verdict, result.message) == ("certified", "")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("x[:n]", "x[:1]", "values/input: expected an array, found a list whose rows differ in length"),
        (
            "short else x",
            "short else x[n:] if 'hidden.weight' in name else x",
            "gradients/hidden.weight: expected an array, found a ",
        ),
    ],
)
def test_what_is_ragged_otherwise_is_incomplete(own, right, wrong, message):
    text = SHORT_BATCHES.replace("TAKE", "lambda a: a.tolist()")
    result = own(text.replace(right, wrong), "run", **BATCHES)
    assert (result.verdict, result.message[: len(message)]) == ("incomplete", message)


def test_the_arrays_of_a_list_keep_their_dtype(own):
    text = SHORT_BATCHES.replace("TAKE", "lambda a: np.float32(a)")
    result = own(text, "run", **BATCHES)
    assert result.verdict == "incomplete"
    assert "values of input: expected float64, found float32" in result.message


# ---------------------------------------------------------------- an optimizer alone

ADAM = """\
import numpy as np

def update(parameters, gradients, state, step):
    t, new, after = step + 1, {}, {}
    for name, w in parameters.items():
        g = gradients[name]
        m = 0.9 * state.get("first_moment/" + name, 0 * w) + w.dtype.type(1 - 0.9) * g
        v = 0.999 * state.get("second_moment/" + name, 0 * w) + w.dtype.type(1 - 0.999) * g * g
        after[name] = w - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        new |= {"first_moment/" + name: m, "second_moment/" + name: v}
    return after, new
"""
IN_PLACE = ADAM.replace("t, new, after = step + 1, {}, {}", "t, new, after = step + 1, state, {}").replace(
    ", new\n", "\n"
)
NESTED = f"""{ADAM}
_flat = update
def update(parameters, gradients, state, step):
    flat = {{f"{{name}}/{{path}}": a for name, group in state.items() for path, a in group.items()}}
    after, new = _flat(parameters, gradients, flat, step)
    nested = {{}}
    for name, a in new.items():
        nested.setdefault(name.partition("/")[0], {{}})[name.partition("/")[2]] = a
    return after, nested
"""
BY_ADAM = {
    "training": {"steps": 30, "optimizer": {"adam": {"learning_rate": 0.05}}, "clip": {"norm": {"maximum": 0.1}}}
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ADAM, ""),
        (IN_PLACE, ""),
        (NESTED, ""),
        (ADAM.replace("_moment/", "/"), "the state is not recorded: it is followed from the start"),
        (ADAM.replace("first_moment/", "mean/"), "the state is not recorded: it is followed from the start"),
    ],
    ids=["by name", "in place", "nested", "other names", "one other name"],
)
def test_an_optimizer_alone_is_certified(own, text, message):
    """Its state is judged where it is there by the optimizer's names, else it is followed."""
    result = own(text, "update", **BY_ADAM)
    assert (result.verdict, result.message) == ("certified", message)
    assert result.judgement.scope == "layers"


@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ("t, new, after = step + 1", "t, new, after = step + 2", "step 0, update of hidden.weight"),
        ("0.9 * state", "0.91 * state", "step 1, state of first_moment/hidden.weight"),
        ("0.999 * state", "0.9 * state", "step 1, state of second_moment/hidden.weight"),
        ("0.05", "0.050001", "step 0, update of hidden.weight"),
    ],
)
def test_a_wrong_optimizer_is_refused(own, right, wrong, where):
    """Of one whose state is not seen, in its update."""
    result = own(ADAM.replace(right, wrong), "update", **BY_ADAM)
    assert (result.verdict, result.message.startswith(where)) == ("differs", True), result.message
    followed = own(ADAM.replace(right, wrong).replace("_moment/", "/"), "update", **BY_ADAM)
    step = where.partition(",")[0]
    assert (followed.verdict, followed.message.startswith(f"{step}, update of ")) == ("differs", True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "expected (parameters, state), both in dictionaries; found None in place of parameters"),
        ("return [1], {}", "both in dictionaries; found a list of 1 in place of parameters"),
        ("return {}", f"expected the updates of {NAMES}; found none"),
        ("return {n: w.T for n, w in parameters.items()}, {}", "update of hidden.weight: transposed? expected (2, 3)"),
        (
            "return parameters, {f'{k}_moment': {n: g.astype('f') for n, g in gradients.items()} for k in KINDS}",
            "state first_moment/hidden.weight, state first_moment/hidden.bias",
        ),
    ],
)
def test_what_an_update_gets_wrong_is_told(own, body, message):
    text = f"KINDS = 'first', 'second'\ndef update(parameters, gradients, state, step):\n    {body}\n"
    result = own(text, "update", **BY_ADAM)
    assert result.verdict == "error"
    assert message in result.message


def test_the_optimizer_of_the_docs_is_certified(own):
    """`docs/your-own.md` shows it."""
    page = (CASES.parent / "docs" / "your-own.md").read_text(encoding="utf-8")
    text = page.partition("## An optimizer alone")[2].partition("```python\n")[2].partition("```")[0]
    training = {"steps": 30, "optimizer": {"momentum": {"learning_rate": 0.1, "momentum": 0.9}}}
    result = own(text, "update", training=training)
    assert (result.verdict, result.message) == ("certified", "")


def test_an_update_needs_training(own):
    result = own(ADAM, "update", training=None)
    assert (result.verdict, result.message) == (
        "unsupported", "the case has no `training`, so there is no update to judge",
    )  # fmt: skip


@pytest.mark.parametrize("rate", ["0.3 * min(step, 5) / 5", "0.3 * min(step + 1, 5) / 5"])
def test_an_optimizer_computes_the_rate_of_a_schedule_itself(own, rate):
    text = f"def update(w, g, state, step):\n    return {{n: w[n] - {rate} * g[n] for n in w}}\n"
    training = {"steps": 9, "optimizer": {"sgd": {"learning_rate": 0.3}}, "schedule": {"warm_up": {"steps": 5}}}
    result = own(text, "update", training=training)
    assert result.verdict == ("differs" if "step + 1" in rate else "certified")
    assert "the learning rates are not recorded: they are taken from the schedule" in result.message


def test_frozen_parameters_are_none_of_an_optimizers_business(problem_of, tmp_path):
    (tmp_path / "mine.py").write_text("def update(w, g, s, k):\n    return {n: w[n] - 0.3 * g[n] for n in w}\n")
    result = attempt(problem_of(frozen=["hidden.weight"]), f"mine={tmp_path / 'mine.py'}:update")
    assert result.verdict == "certified"


# ---------------------------------------------------------------- runs


TOLD = [
    (
        "def gradient(parameters, inputs, targets): pass",
        "mine.py has no function 'gradients'; did you mean 'gradient'?",
    ),
    ("def gradients(x, y): pass", "expected a function of (parameters, inputs, targets), or "),
    ("def gradients(problem): return {'valeus/x': 3}", "a run has nothing called 'valeus/x'; expected steps, loss"),
]


@pytest.mark.parametrize("nested", [True, False])
def test_a_mapping_is_a_run(problem_of, tmp_path, monkeypatch, nested):
    """Named like a trajectory's fields, or like the arrays of a file."""
    call = "vars(numpy_reference.run(problem))" if nested else "flat(numpy_reference.run(problem))"
    imports = "from backproof.backends import numpy_reference\nfrom backproof.backends.trajectory import flat\n"
    text = f"{imports}def run(problem): return {call}"
    (tmp_path / "package_of_mine.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    result = attempt(problem_of(), "mine=package_of_mine:run")
    assert (result.verdict, result.message, result.judgement.scope) == ("certified", "", "layers")


@pytest.mark.parametrize(("text", "message"), TOLD, ids=range(len(TOLD)))
def test_our_own_words_are_no_exception_to_debug(tmp_path, monkeypatch, capsys, text, message):
    """Where everything runs in one process, they are a verdict too, without the name of an exception."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(text)
    case = str(CASES / "network" / "three_two_one.yaml")
    assert main([case, "--backend=mine=mine.py:gradients", "--executor=inline", "--no-exact", "--dtype=float64"]) == 3
    (row,) = json.loads(Path("results/report.json").read_text())["results"]
    assert (row["verdict"], row["message"][: len(message)]) == ("error", message)
    assert "?." not in capsys.readouterr().out


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorflow", "unknown backend 'tensorflow'; expected numpy, torch, jax"),
        ("mine=", "expected FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION, found ''"),
        ("mine=x.py", "expected FILE.py:FUNCTION"),
        ("mine=x.py:f", "there is no file x.py"),
        ("mine=x/y:f", "expected a file that ends in .py, or a module, found 'x/y'"),
        ("torch=x.py:f", "torch is the name of another backend"),
        ("1|x=x.py:f", "a name begins with a letter"),
    ],
)
def test_what_names_no_backend(text, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", "\\(").replace("|", "\\|")):
        chosen(text)


def test_packages_add_backends(monkeypatch, problem_of, tmp_path):
    """By entry points, modules and functions; none can take the place of ours."""
    (tmp_path / "added_module.py").write_text("from backproof.backends.numpy_reference import PACKAGES, run, settings")
    (tmp_path / "added_function.py").write_text(RIGHT)
    monkeypatch.syspath_prepend(tmp_path)
    entries = [
        SimpleNamespace(name="added", value="added_module"),
        SimpleNamespace(name="other", value="added_function:gradients"),
        SimpleNamespace(name="torch", value="added_module"),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries * (group == "backproof.backends"))
    assert list(known()) == [*registry.BACKENDS, "added", "other"]
    assert known()["torch"] == "backproof.backends.torch_autograd"
    assert attempt(problem_of(), "added").verdict == "certified"
    assert attempt(problem_of(), "other").judgement.scope == "gradients"
    assert describe("added")["threads"] == "1"
    assert describe("other") == {"backend": "other", "packages": "added_function:gradients",
                                 "function": "added_function:gradients"}  # fmt: skip


MODULES = {
    "run": "from backproof.backends import numpy_reference as by_hand\n"
    "def run(problem): return vars(by_hand.run(problem))\n",
    "gradients": RIGHT,
    "update": "def update(w, g, state, step): return {n: w[n] - 0.3 * g[n] for n in w}\n",
}


@pytest.mark.parametrize("function", MODULES)
def test_a_module_of_a_package_may_have_any_of_the_functions(monkeypatch, problem_of, tmp_path, function):
    """Its `run` may return a mapping as well."""
    (tmp_path / f"of_{function}.py").write_text(MODULES[function])
    monkeypatch.syspath_prepend(tmp_path)
    entries = [SimpleNamespace(name="added", value=f"of_{function}")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries * (group == "backproof.backends"))
    assert attempt(problem_of(), "added").verdict == "certified"


def test_a_module_without_any_of_them_is_told(monkeypatch, problem_of, tmp_path):
    (tmp_path / "of_nothing.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    entries = [SimpleNamespace(name="added", value="of_nothing")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries * (group == "backproof.backends"))
    message = "of_nothing has none of the functions run, gradients, update"
    assert attempt(problem_of(), "added").message == describe("added")["packages"] == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("mypkg.broken", "mypkg.broken can't import probe_not_there: No module named 'probe_not_there'"),
        ("mypkg.broken:run", "mypkg.broken can't import probe_not_there: No module named 'probe_not_there'"),
        ("mypkg.absent", "there is no module mypkg.absent: No module named 'mypkg.absent'"),
        ("nopkg.absent:run", "there is no module nopkg.absent: No module named 'nopkg'"),
    ],
)
def test_what_a_package_lacks_is_told(monkeypatch, problem_of, tmp_path, value, message):
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "broken.py").write_text("import probe_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    entries = [SimpleNamespace(name="added", value=value)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries * (group == "backproof.backends"))
    result = attempt(problem_of(), "added")
    assert (result.verdict, result.message) == ("missing", message)


def test_the_home_folder_is_expanded(monkeypatch, problem_of, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine.py").write_text(RIGHT)
    assert chosen("mine=~/mine.py:gradients") == "mine=~/mine.py:gradients"
    assert attempt(problem_of(), "mine=~/mine.py:gradients").verdict == "certified"
    assert "SHA-256" in describe("mine=~/mine.py:gradients")["packages"]


@pytest.mark.filterwarnings("error")
def test_what_a_run_is_given_is_its_own(problem_of, tmp_path):
    """It may write into it, and nobody else sees that; torch does not warn of arrays that are read-only."""
    text = f"{MODULES['run']}\ndef own(problem):\n    import torch\n    found = run(problem)\n"
    text += "    for array in (*problem.parameters.values(), problem.targets, problem.batches):\n"
    text += "        torch.from_numpy(array).zero_()\n    return found\n"
    (tmp_path / "mine.py").write_text(text)
    problem = problem_of()
    assert attempt(problem, f"mine={tmp_path / 'mine.py'}:own").verdict == "certified"
    assert problem.targets.any()


def test_a_file_of_ones_own_is_described_by_its_content(tmp_path):
    (tmp_path / "mine.py").write_text("")
    row = describe(f"mine={tmp_path / 'mine.py'}:f")
    assert row == {"backend": "mine", "packages": f"{tmp_path / 'mine.py'}:f (SHA-256 e3b0c44298fc)"}


# ---------------------------------------------------------------- the template


@pytest.mark.parametrize(
    "case",
    ["network/three_two_one", "digits/relu_adam", "sharing/tied", "sharing/frozen_layer", "sharing/dropout_drawn"],
)
def test_the_template_runs_and_fails_until_it_is_filled_in(tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    path = CASES / f"{case}.yaml"
    assert command.main(["--new", "mine.py", str(path)]) == 0
    assert f"python -m report {path} --backend mine=mine.py:gradients" in capsys.readouterr().out
    text = Path("mine.py").read_text(encoding="utf-8")
    loaded = load(path)
    for name, shape in loaded.trained_shapes().items():
        assert f'"{name}": np.zeros_like(' in text
        assert f'= parameters["{name}"]  # {shape}' in text
    short = loaded.model_copy(update={"training": None, "published": []})
    result = attempt(materialise(short, "float64"), "mine=mine.py:gradients")
    assert result.verdict == "differs"
    assert result.message.startswith("step 0, loss: found 0.0")


OBJECTIVES = [path for path in sorted(CASES.rglob("*.yaml")) if (case := load(path)).objective and case.training]


@pytest.mark.parametrize("path", OBJECTIVES, ids=lambda path: path.stem)
def test_the_template_of_an_objective_is_an_optimizer(tmp_path, monkeypatch, capsys, path):
    """It has the equation, the settings and the state, leaves the parameters as they are, and is refused."""
    monkeypatch.chdir(tmp_path)
    assert command.main(["--new", "mine.py", str(path)]) == 0
    assert f"python -m report {path} --backend mine=mine.py:update" in capsys.readouterr().out
    text, case = Path("mine.py").read_text(encoding="utf-8"), load(path)
    optimizer = case.training.optimizer
    commented = " ".join(text.replace("    #", " ").split())
    assert f"{optimizer.kind}: {' '.join(type(optimizer).__doc__.split())}" in commented
    assert all(f'"{name}/x.weight": {name}_x_weight,' in text for name in optimizer.state)
    assert all(f"{name} = {value}" in commented for name, value in optimizer if name != "kind")
    result = attempt(materialise(case, case.dtypes[0]), "mine=mine.py:update")
    assert (result.verdict, result.judgement.where.step) == ("differs", 0)


def test_the_template_of_an_optimizer_says_what_is_around_it(tmp_path):
    text = """\
title: An optimizer alone
dtypes: [float64]
objective: {linear: {coefficients: [1, 2]}}
parameters: {x.weight: [1, 1]}
training:
  steps: 3
  optimizer: {adamw: {learning_rate: 0.1}}
  clip: {norm: {maximum: 1}}
  schedule: {exponential_decay: {factor: 0.9}}
"""
    (tmp_path / "case.yaml").write_text(text)
    new = " ".join(
        template(load(tmp_path / "case.yaml"), Path("case.yaml"), Path("m.py")).replace("    #", " ").split()
    )
    assert "Decoupled, it takes w - learning_rate weight_decay w for w, and g as it is." in new
    assert "Of step k = step, by exponential_decay: Factor^k." in new
    assert "Gradients come as they are clipped, by norm: g <- g min(1, maximum / (|g| + epsilon))" in new


def test_the_template_overwrites_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("precious")
    case = str(CASES / "network" / "three_two_one.yaml")
    assert command.main(["--new", "mine.py", case]) == 2
    assert Path("mine.py").read_text() == "precious"
    assert command.main(["--new", "mine.txt", case]) == 2
    assert command.main(["--new", "new.py", "no_such.yaml"]) == 2
    assert command.main(["--new", "no/such/folder.py", case]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "mine.py is there already, and stays as it is"
    assert lines[1] == "expected a name that ends in .py, found mine.txt"
    assert lines[2] == "no_such.yaml:1:1: there is no such file"
    assert lines[3] == "cannot write no/such/folder.py: No such file or directory"


@pytest.mark.parametrize(
    "name", ["two  words", "it's $HOME", 'a"""b', "ends in \\", '\\"""', "no\udc80text", "new\nline"]
)
def test_the_template_is_python_whatever_its_case_is_called(tmp_path, monkeypatch, capsys, name):
    """And what it prints can be pasted into a shell, where a terminal can show the name."""
    monkeypatch.chdir(tmp_path)
    Path(f"{name}.yaml").write_bytes((CASES / "network" / "three_two_one.yaml").read_bytes())
    assert command.main(["--new", f"{name}.py", f"{name}.yaml"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("python -m report")]
    text = Path(f"{name}.py").read_text(encoding="utf-8")
    assert f"    {line}\n" in ast.get_docstring(ast.parse(text), clean=False)
    if name.isprintable():
        arguments = ["python", "-m", "report", f"{name}.yaml", "--backend", f"mine={name}.py:gradients"]
        assert shlex.split(line) == arguments


def test_no_name_of_a_file_reaches_the_terminal_from_the_template(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    case, name = str(CASES / "network" / "three_two_one.yaml"), "\x1b[31mred"
    for arguments, code in [((f"{name}.py", case), 0), ((f"{name}.py", case), 2), ((f"{name}/x.py", case), 2),
                            ((f"{name}.txt", case), 2), (("x.py", f"{name}.yaml"), 2)]:  # fmt: skip
        assert command.main(["--new", *arguments]) == code
        printed = capsys.readouterr()
        assert "\ufffd[31mred" in printed.out + printed.err
        assert "\x1b" not in printed.out + printed.err


def test_no_word_of_a_backend_reaches_the_terminal_from_the_list(monkeypatch, capsys):
    row = {"backend": "\x1b[31mred", "packages": "broken\nin two"}
    monkeypatch.setattr(registry, "describe", lambda _: row)
    monkeypatch.setattr(registry, "DEFAULT", ())
    assert command.main([]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "broken in two" in printed


# ---------------------------------------------------------------- the examples of the docs


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("case", "place", "scope"),
    [
        ("network/three_two_one", "three_two_one.py:gradients", "gradients"),
        ("xor/three_four_one", "three_four_one.py:gradients", "gradients"),
        ("xor/relu", "autograd_backend.py:run", "layers"),
        ("depth/tanh_16_wide", "autograd_backend.py:run", "layers"),
        ("network/chain", "autograd_backend.py:run", "layers"),
    ],
)
def test_the_examples_are_certified(case, place, scope, dtype):
    result = attempt(materialise(load(CASES / f"{case}.yaml"), dtype), f"mine={EXAMPLES / place}")
    assert (result.verdict, result.message) == ("certified", "")
    assert result.judgement.scope == scope
    assert len((EXAMPLES / "autograd_backend.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("reduction", ["sum", "mean", "batch_mean"])
def test_the_example_knows_all_reductions(problem_of, reduction):
    """Of two outputs, where they all differ."""
    changes = {
        "network": [{"dense": {"name": "one", "units": 2, "bias": False}}],
        "parameters": {"one.weight": [[0.5, 1], [-1, 2]]},
        "data": {"inputs": [[0, 1], [1, 0.3], [1, 1]], "targets": [[1, 0], [0, 1], [1, 1]]},
        "loss": {"squared_error": {"factor": 1, "reduction": reduction}},
        "training": {"steps": 5, "optimizer": {"sgd": {"learning_rate": 0.1}}},
    }
    result = attempt(problem_of(**changes), f"a={EXAMPLES}/autograd_backend.py:run")
    assert (result.verdict, result.message) == ("certified", "")


@pytest.mark.parametrize("case", ["xor/sequential_batches", "optimizers/adam", "sharing/skip"])
def test_the_example_refuses_what_it_does_not_know(case):
    result = attempt(materialise(load(CASES / f"{case}.yaml"), "float64"), f"a={EXAMPLES}/autograd_backend.py:run")
    assert result.verdict == "unsupported"


@pytest.mark.parametrize(
    ("example", "case", "right", "where"),
    [
        ("three_two_one", "network", "np.dot(inputs.T, hidden", "gradient of hidden.weight"),
        ("three_two_one", "network", "np.dot(hidden_layer_output.T", "gradient of readout.weight"),
        ("three_four_one", "xor", "np.dot(Xj.T", "gradient of readout.weight"),
    ],
)  # fmt: skip
def test_one_changed_sign_is_refused_with_its_tensor(tmp_path, example, case, right, where):
    text = (EXAMPLES / f"{example}.py").read_text()
    assert text.count(right) == 1
    (tmp_path / "mine.py").write_text(text.replace(right, f"-{right}"))
    problem = materialise(load(CASES / case / f"{example}.yaml"), "float64")
    result = attempt(problem, f"mine={tmp_path / 'mine.py'}:gradients")
    assert result.verdict == "differs"
    assert result.message.startswith(f"step 0, {where}")


def test_the_report_prints_the_resolution(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = f"--backend=mine={EXAMPLES / 'three_two_one.py'}:gradients"
    case = str(CASES / "network" / "three_two_one.yaml")
    assert main([case, own, "--executor=inline", "--no-exact"]) == 0
    printed = capsys.readouterr().out
    assert "(2e-14)*" in printed
    assert "* judged end to end, from gradients alone" in printed
    rows = json.loads(Path("results/report.json").read_text())["results"]
    assert [row["backend"] for row in rows] == ["mine", "mine"]
    assert np.isfinite(rows[0]["resolution"])
