"""Runs as files: saved, judged again, made by a program in C; and what is no run."""

import json
import shutil
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backproof.backends import numpy_reference
from backproof.backends.trajectory import Incomplete
from backproof.backends.trajectory_files import NotARun, load_run, read_header, save_run
from backproof.cases.format.schema import CASES, Dtype
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from backproof.report.__main__ import main
from backproof.report.judging.judge import judge

EXAMPLES = CASES.parent / "docs" / "examples"
CASE = str(CASES / "neuron" / "four_inputs.yaml")


@pytest.mark.parametrize("dtype", get_args(Dtype))
def test_a_file_holds_every_bit_of_a_run(problem_of, tmp_path, dtype):
    schedule = {"step_decay": {"every": 3, "factor": 0.5}}
    training = {"steps": 5, "optimizer": {"adam": {"learning_rate": 0.1}}, "schedule": schedule}
    problem = problem_of(dtype, dtypes=[dtype], training=training)
    run = numpy_reference.run(problem)
    save_run(run, tmp_path / "a" / "run.safetensors", problem)
    again = load_run(tmp_path / "a" / "run.safetensors", problem)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["run.safetensors"]
    for field in fields(run):
        ours, theirs = getattr(run, field.name), getattr(again, field.name)
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys()
            assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
            assert all(ours[name].dtype == theirs[name].dtype for name in ours)
        else:
            assert np.array_equal(ours, theirs)
    assert judge(problem, again).message == ""


@pytest.fixture
def saved(problem_of, tmp_path):
    problem = problem_of(training=None)
    path = tmp_path / "run.safetensors"
    save_run(numpy_reference.run(problem), path, problem)
    return problem, path


HEADER = {"backproof": "1", "case": "x", "dtype": "float64"}


def told(capsys) -> str:
    """The complaints, on one line."""
    return " ".join(capsys.readouterr().err.split())


def spoilt(path: Path, header: dict | None = None, **arrays) -> None:
    """Write the arrays of a file again with some others, and no fingerprint."""
    save_file(load_file(path) | arrays, path, HEADER | (header or {}))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "expected the metadata 'backproof': '1' in its header; there is no such key"),
        (HEADER | {"backproof": "2"}, "expected the metadata 'backproof': '1' in its header; found '2'"),
        (HEADER | {"case": ""}, "the metadata has no 'case'"),
        ({"backproof": "1", "case": "x"}, "the metadata has no 'dtype'"),
        (HEADER | {"scope": "all"}, "the metadata 'scope' is one of layers, some, gradients, not 'all'"),
        (
            HEADER | {"borrowed": "update, x"},
            "the metadata 'borrowed' names phases, value, buffer, loss, cotangent, gradient, ",
        ),
        (
            HEADER | {"problem": "0" * 40},
            "the case x has changed since this run was made, or it is a run of another one",
        ),
    ],
)
def test_a_header_that_says_too_little(saved, metadata, message):
    problem, path = saved
    save_file(load_file(path), path, metadata)
    with pytest.raises(NotARun) as refused:
        load_run(path, problem)
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")


def test_files_that_hold_no_run(saved, tmp_path):
    problem, path = saved
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-3])
    (tmp_path / "text.safetensors").write_text("title: a case")
    for name in ("cut", "text", "none"):
        with pytest.raises(NotARun, match="no safetensors file: "):
            read_header(tmp_path / f"{name}.safetensors")
    save_file({"valeus/x": np.zeros(3)}, path, HEADER)
    with pytest.raises(NotARun, match="a run has nothing called 'valeus/x'"):
        load_run(path, problem)


def test_what_is_missing_in_a_file_is_named(saved):
    problem, path = saved
    arrays = load_file(path)
    del arrays["gradients/hidden.bias"], arrays["final_loss"]
    save_file(arrays, path, HEADER | {"seconds": "much", "scope": "layers"})
    message = judge(problem, load_run(path, problem)).message
    assert message == "gradients of hidden.bias: missing; final_loss: missing"


def test_what_is_missing_in_a_file_that_promises_nothing_is_followed(saved):
    problem, path = saved
    arrays = load_file(path)
    del arrays["cotangents/hidden"], arrays["final_loss"]
    save_file(arrays, path, HEADER)
    judgement = judge(problem, load_run(path, problem))
    assert (judgement.verdict, judgement.scope) == ("certified", "some")
    followed = "not recorded, and followed: 1 of 5 cotangents (hidden)"
    assert judgement.message == f"{followed}; not recorded, so not judged: the final loss"


# ---------------------------------------------------------------- hostile files


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "-5", "1e999", "", "much"])
def test_seconds_that_are_none(saved, seconds):
    problem, path = saved
    spoilt(path, {"seconds": seconds})
    assert read_header(path).seconds == load_run(path, problem).seconds == 0
    assert judge(problem, load_run(path, problem)).verdict == "certified"


@pytest.mark.parametrize("name", ["seconds", "scope", "borrowed"])
def test_a_tensor_that_is_called_like_a_text(saved, name):
    problem, path = saved
    spoilt(path, **{name: np.zeros(3)})
    with pytest.raises(NotARun, match=f"'{name}' is a text of the metadata, not an array"):
        load_run(path, problem)


def raw(path: Path, header: dict, content: bytes) -> None:
    """A file of the format, whatever its header says."""
    text = json.dumps({"__metadata__": HEADER} | header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4"])
def test_dtypes_that_numpy_lacks(saved, dtype):
    problem, path = saved
    size = 1 if dtype == "F4" else 2
    raw(path, {"loss": {"dtype": dtype, "shape": [2], "data_offsets": [0, size]}}, bytes(size))
    with pytest.raises(NotARun, match=f"'loss' is of dtype {dtype}, which NumPy can't read"):
        load_run(path, problem)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bool"])
def test_steps_in_a_file_are_integers(saved, dtype):
    problem, path = saved
    spoilt(path, steps=problem.recorded.astype(dtype))
    judgement = judge(problem, load_run(path, problem))
    assert judgement.verdict == "incomplete"
    assert judgement.message.startswith("steps: expected 1 from 0 to 0, found 1 from ")
    spoilt(path, steps=problem.recorded.astype("int8"))
    assert load_run(path, problem).steps.dtype == np.int64


ODD = {
    ">f8": "found float64 in the other byte order",
    "longdouble": f"found {np.dtype('longdouble').name}",
    "complex128": "found complex128",
    "O": "found object",
    "U40": "found str1280",
}


@pytest.mark.parametrize(("dtype", "message"), ODD.items(), ids=ODD)
def test_a_file_never_holds_another_dtype_than_the_run(problem_of, tmp_path, dtype, message):
    """Big-endian numbers would be turned round on their way, and certified."""
    problem = problem_of(training=None)
    run = numpy_reference.run(problem)
    gradients = run.gradients | {"hidden.bias": run.gradients["hidden.bias"].astype(dtype)}
    with pytest.raises(Incomplete) as refused:
        save_run(replace(run, gradients=gradients), tmp_path / "run.safetensors", problem)
    assert str(refused.value) == f"gradients/hidden.bias: expected numbers that a file can hold, {message}"
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.zeros(3)}, "values: expected arrays by name, found a ndarray"),
        ({"loss": [[0], [1, 2]]}, "loss: expected an array, found a list"),
    ],
)
def test_what_is_no_array_is_not_saved(problem_of, tmp_path, changes, message):
    problem = problem_of(training=None)
    with pytest.raises(Incomplete) as refused:
        save_run(replace(numpy_reference.run(problem), **changes), tmp_path / "run.safetensors", problem)
    assert str(refused.value) == message


def test_a_file_says_what_was_borrowed(problem_of, tmp_path):
    problem, path = problem_of(), tmp_path / "run.safetensors"
    save_run(replace(numpy_reference.run(problem), borrowed=frozenset({"update", "learning rate"})), path, problem)
    assert load_run(path, problem).borrowed == {"update", "learning rate"}


# ---------------------------------------------------------------- python -m report


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows() -> dict[str, dict]:
    found = json.loads(Path("results/report.json").read_text())["results"]
    return {f"{row['dtype']} {row['backend']}": row for row in found}


def report(*arguments) -> int:
    return main([*map(str, arguments), "--executor=inline", "--no-exact"])


def test_saved_runs_are_judged_again_without_running(monkeypatch):
    assert report(CASE, "--backend=numpy", "--save-runs") == 0
    files = sorted(path.relative_to("results").as_posix() for path in Path("results/runs").rglob("*.*"))
    assert files == [f"runs/neuron/four_inputs/{dtype}-numpy.safetensors" for dtype in ("float32", "float64")]
    monkeypatch.setattr(numpy_reference, "run", None)
    assert report("--from-runs=results", "--output=again") == 0
    assert json.loads(Path("again/report.json").read_text())["results"][0]["verdict"] == "certified"
    case = Path(CASE).read_text().replace("0.689974481128", "0.689974491128")
    Path("case.yaml").write_text(case)
    shutil.copytree("results/runs/neuron/four_inputs", "results/runs/case")
    assert report("case.yaml", "--from-runs=results") == 1
    assert "prints 0.689974491128" in rows()["float64 numpy"]["message"]


def test_a_run_that_was_not_saved_is_missing(capsys):
    assert report(CASE, "--backend=numpy", "--dtype=float64", "--save-runs") == 0
    assert report(CASE, "--from-runs=results") == 3
    assert rows()["float32 numpy"]["verdict"] == "missing"
    assert rows()["float64 numpy"]["verdict"] == "certified"
    assert report("--from-runs=nowhere") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "there is no folder nowhere/runs; --save-runs makes it"


@pytest.fixture(scope="module")
def from_c(tmp_path_factory):
    """The file that the program in C writes."""
    folder = tmp_path_factory.mktemp("c")
    compiler = shutil.which("cc") or shutil.which("gcc")
    build = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", folder / "neuron", EXAMPLES / "run.c", "-lm"]
    subprocess.run(build, check=True)
    subprocess.run([folder / "neuron", folder / "neuron.safetensors"], check=True)
    return folder / "neuron.safetensors"


def test_a_run_of_a_program_in_c_is_certified(from_c):
    assert report(f"--run=c={from_c}", "--backend=numpy") == 0
    assert list(rows()) == ["float64 numpy", "float64 c", "float32 numpy"]
    assert rows()["float64 c"]["verdict"] == "certified"
    assert rows()["float64 c"]["published"] == {"met": 3, "missed": 0}


def test_a_run_among_the_files_of_a_home_is_found(from_c, monkeypatch):
    """Where no shell has seen to the ~."""
    monkeypatch.setenv("HOME", str(from_c.parent))
    assert report(f"--run=c=~/{from_c.name}", "--backend=numpy", "--no-exact") == 0
    assert rows()["float64 c"]["verdict"] == "certified"


def test_a_wrong_number_of_a_program_in_c_is_named(from_c):
    arrays = load_file(from_c)
    arrays["gradients/neuron.weight"][0, 2] *= -1
    save_file(arrays, "wrong.safetensors", HEADER | {"case": "neuron/four_inputs"})
    assert report("--run=c=wrong.safetensors", f"--run=right={from_c}", "--backend=numpy") == 1
    message = rows()["float64 c"]["message"]
    assert message.startswith("step 0, gradient of neuron.weight at [2, 0]: found ")
    assert rows()["float64 right"]["verdict"] == "certified"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run=c=none.safetensors"], "none.safetensors: no safetensors file: "),
        (["--run=c={c}", "--dtype=float64", str(CASES / "xor")], "is a run of neuron/four_inputs in float64, which is"),
        (["--run=c={c}", "--run=c={c}"], "c is given twice"),
        (["--run=c={c}", "--backend=c=mine.py:run"], "c is given twice"),
        (["--run=c={c}", "--from-runs=saved"], "c is given twice"),
        (
            ["--backend=numpy", "--run=a=other.safetensors"],
            "a=other.safetensors is a run of neuron/five in float64, which is no case here: name its file",
        ),
        (
            ["--backend=numpy", "--run=a=half.safetensors"],
            "neuron/four_inputs is a case here, with float64 and float32, but the run is of float16",
        ),
    ],
)
def test_runs_that_are_of_no_use(from_c, capsys, arguments, message):
    save_file(load_file(from_c), "other.safetensors", HEADER | {"case": "neuron/five"})
    Path("mine.py").touch()
    Path("saved/runs/neuron/four_inputs").mkdir(parents=True)
    Path("saved/runs/neuron/four_inputs/float64-c.safetensors").touch()
    save_file(load_file(from_c), "half.safetensors", HEADER | {"case": "neuron/four_inputs", "dtype": "float16"})
    assert report(*(argument.replace("{c}", str(from_c)) for argument in arguments)) == 2
    assert message in told(capsys)


HOSTILE = {
    "seconds nan": ({"seconds": "nan"}, {}, "certified"),
    "seconds inf": ({"seconds": "inf"}, {}, "certified"),
    "seconds below 0": ({"seconds": "-5"}, {}, "certified"),
    "a tensor seconds": ({}, {"seconds": np.zeros(3)}, "error"),
    "a tensor scope": ({}, {"scope": np.zeros(3)}, "error"),
    "steps of floats": ({}, {"steps": np.zeros(1)}, "incomplete"),
    "steps of bool": ({}, {"steps": np.zeros(1, bool)}, "incomplete"),
    "too many tensors": ({}, {f"values/x{i}": np.zeros(1) for i in range(20_000)}, "incomplete"),
    "float32": ({}, {"loss": np.zeros(1, np.float32)}, "incomplete"),
}


@pytest.mark.parametrize(("header", "arrays", "verdict"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_costs_nobody_else_his_row(from_c, header, arrays, verdict):
    """It has its verdict; the report is written, small, and the others are judged."""
    shutil.copy(from_c, "hostile.safetensors")
    spoilt("hostile.safetensors", {"case": "neuron/four_inputs"} | header, **arrays)
    code = report("--run=hostile=hostile.safetensors", f"--run=right={from_c}", "--backend=numpy")
    assert code == (0 if verdict == "certified" else 3)
    assert rows()["float64 hostile"]["verdict"] == verdict
    assert rows()["float64 right"]["verdict"] == rows()["float64 numpy"]["verdict"] == "certified"
    assert Path("results/report.md").stat().st_size < 100_000


def test_a_run_of_ones_own_in_the_other_byte_order_is_incomplete():
    """Also where a file lies between the code and the judge; the others are judged."""
    Path("mine.py").write_text(
        "from backproof.backends import numpy_reference\n"
        "def run(problem):\n"
        "    found = vars(numpy_reference.run(problem))\n"
        "    other = problem.dtype.newbyteorder()\n"
        "    return found | {'gradients': {name: x.astype(other) for name, x in found['gradients'].items()}}\n"
    )
    assert report(CASE, "--backend=numpy", "--backend=mine=mine.py:run") == 3
    row = rows()["float64 mine"]
    told = "gradients/neuron.weight: expected numbers that a file can hold, found float64 in the other byte order"
    assert (row["verdict"], row["message"]) == ("incomplete", told)
    assert rows()["float64 numpy"]["verdict"] == "certified"


# ---------------------------------------------------------------- which case a run is of


def saved_as(name: str, path: str, case: str = CASE, dtype: str = "float64") -> None:
    """Leave the reference's run of a case in a file, under another name of the case."""
    problem = replace(materialise(load(case), dtype), name=name)
    save_run(numpy_reference.run(problem), Path(path), problem)


def test_a_run_is_known_by_its_fingerprint():
    """Wherever one stood when it was made, and however the file of the case was called."""
    saved_as("../elsewhere/mine", "run.safetensors")
    assert report("--run=mine=run.safetensors", "--backend=numpy", "--dtype=float64") == 0
    assert rows()["float64 mine"]["case"] == "neuron/four_inputs"
    shutil.copy(CASE, "moved.yaml")
    assert report("moved.yaml", "--run=mine=run.safetensors", "--backend=numpy", "--dtype=float64") == 0
    assert rows()["float64 mine"]["case"] == "moved"


def test_a_run_of_another_problem_of_that_name_is_refused(capsys):
    saved_as("case", "run.safetensors")
    Path("case.yaml").write_text(Path(CASE).read_text().replace("[[1, 2, 3, 4]]", "[[1, 2, 3, 5]]"))
    assert report("case.yaml", "--run=mine=run.safetensors", "--backend=numpy") == 2
    changed = "the case case has changed since this run was made, or it is a run of another one: make it again"
    assert told(capsys) == f"mine=run.safetensors: {changed}"


def test_saved_runs_of_a_case_that_has_changed_are_not_judged():
    Path("case.yaml").write_text(Path(CASE).read_text())
    assert report("case.yaml", "--backend=numpy", "--dtype=float64", "--save-runs") == 0
    Path("case.yaml").write_text(Path(CASE).read_text().replace("[[1, 2, 3, 4]]", "[[1, 2, 3, 5]]"))
    assert report("case.yaml", "--from-runs=results", "--dtype=float64") == 3
    row = rows()["float64 numpy"]
    assert (row["verdict"], "the case case has changed since this run was made" in row["message"]) == ("error", True)


def test_a_run_in_a_dtype_that_is_not_asked_for_is_told(capsys):
    saved_as("neuron/four_inputs", "run.safetensors", dtype="float32")
    assert report("--run=mine=run.safetensors", "--backend=numpy", "--dtype=float64") == 2
    what = "mine=run.safetensors is a run of neuron/four_inputs in float32"
    assert told(capsys) == f"{what}, but --dtype asks for float64: add --dtype float32"
    assert report("--run=mine=run.safetensors", "--backend=numpy", "--dtype=float64", "--dtype=float32") == 0
    assert rows()["float32 mine"]["verdict"] == "certified"


def test_saved_runs_are_found_whatever_else_is_named(monkeypatch):
    """A case is called by the shortest end of its path that tells it from the others."""
    for folder, number in (("w1", 4), ("w2", 5)):
        Path(folder).mkdir()
        text = Path(CASE).read_text().partition("published:")[0]
        Path(folder, "c.yaml").write_text(text.replace("[[1, 2, 3, 4]]", f"[[1, 2, 3, {number}]]"))
    assert report("w1/c.yaml", "--backend=numpy", "--dtype=float64", "--save-runs") == 0
    assert report("w2/c.yaml", "--backend=numpy", "--dtype=float64", "--save-runs") == 0
    files = sorted(Path("results/runs").rglob("*.*"))
    assert [str(file.parent) for file in files] == ["results/runs/c"] * 2
    assert {file.name for file in files} == {
        f"float64.{materialise(load(f'{folder}/c.yaml'), 'float64').fingerprint[:8]}-numpy.safetensors"
        for folder in ("w1", "w2")
    }
    monkeypatch.setattr(numpy_reference, "run", None)
    for cases in (["w1/c.yaml"], ["w2/c.yaml"], ["w1/c.yaml", "w2/c.yaml"]):
        assert report(*cases, "--from-runs=results", "--dtype=float64", "--output=again") == 0
        found = json.loads(Path("again/report.json").read_text())["results"]
        assert [row["verdict"] for row in found] == ["certified"] * len(cases)


def test_saved_runs_are_found_in_any_folder_below():
    """What is no run is told where it stands in the place of one."""
    assert report(CASE, "--backend=numpy", "--save-runs") == 0
    Path("results/runs/neuron").rename("results/runs/elsewhere")
    assert report(CASE, "--from-runs=results", "--output=again") == 0
    Path("results/runs/neuron/four_inputs").mkdir(parents=True)
    Path("results/runs/neuron/four_inputs/float64-torch.safetensors").write_text("no run")
    assert report(CASE, "--from-runs=results", "--dtype=float64") == 3
    assert "no safetensors file" in rows()["float64 torch"]["message"]
    assert rows()["float64 numpy"]["verdict"] == "certified"


def test_cases_that_were_called_otherwise_have_their_saved_runs():
    """All that have the fingerprint: these two differ in the printed numbers alone."""
    saved_as("../mine", "results/runs/mine/float64-numpy.safetensors")
    assert report("--from-runs=results", "--dtype=float64") == 0
    found = json.loads(Path("results/report.json").read_text())["results"]
    assert [row["case"] for row in found] == ["neuron/four_inputs", "published/udacity_1"]


BAD = [
    "--run=c", "--run=c=~nobody-of-this-name/x", "--run=torch=x.safetensors", "--backend=mine=x", "--time-limit=0",
    "--memory-limit=inf", "--executor=spark", "--executor=dask://x y", "--jobs=0",
]  # fmt: skip


@pytest.mark.parametrize("argument", BAD)
def test_bad_arguments(argument, capsys):
    with pytest.raises(SystemExit) as stop:
        main([argument])
    assert stop.value.code == 2
    assert "error: argument" in capsys.readouterr().err
