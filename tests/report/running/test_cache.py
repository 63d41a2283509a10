"""What is not done again, what is; and reports that change all at once."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import backproof
from backproof.backends.registry import BACKENDS
from backproof.cases.format.schema import CASES
from backproof.cases.reading.load import load
from backproof.report.__main__ import main
from backproof.report.running import cache
from backproof.report.running.cache import Cache, files_of, judgement_key, key_of, named_packages, run_key, sources
from backproof.report.running.stored import dump, sealed
from backproof.report.telling import atomic_folder
from backproof.report.telling.atomic_folder import CUT, cut_off, write_all, write_summary
from tests.report.running.test_isolation import CASE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path):
    """A checkout of two cases, and of two backends that are quick to start, which a test may change."""
    for name in ("backends", "backproof", "cases", "reference", "report"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.yaml"))
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(CASE)
    registry = tmp_path / "backends" / "registry.py"
    registry.write_text(registry.read_text().replace("backproof.backends.torch_autograd", "backproof.backends.second"))
    (tmp_path / "backends" / "second.py").write_text(
        "from backproof.backends.numpy_reference import PACKAGES, run, settings\n"
    )
    return tmp_path


LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
runpy.run_module("report", run_name="__main__", alter_sys=True)
"""


def report(checkout: Path, *arguments: str, limited_to: int | None = None, **changes) -> subprocess.CompletedProcess:
    start = ["-c", LIMITED, str(limited_to)] if limited_to else ["-m", "report"]
    command = [sys.executable, *start, "one.yaml", "two.yaml", "--no-exact", *arguments]
    environment = {"PATH": os.environ["PATH"], "BACKPROOF_CACHE": ".kept"} | changes
    return subprocess.run(command, check=False, cwd=checkout, env=environment, capture_output=True, text=True)


def ran(checkout: Path, *arguments: str, **changes) -> set[str]:
    """The runs that a report had to make: their files are new."""
    folder = checkout / ".kept"
    before = {path.name: path.stat().st_ino for path in folder.glob("*.safetensors")}
    done = report(checkout, "--backend=numpy", "--backend=torch", *arguments, **changes)
    assert done.returncode == 0, done.stdout + done.stderr
    after = {path.name: path.stat().st_ino for path in folder.glob("*.safetensors")}
    return {name for name, number in after.items() if before.get(name) != number}


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_only_what_was_changed_is_run_again(checkout):
    """And what is damaged is made again: nothing in the cache is ever run, and a report never fails by it."""
    assert ran(checkout, "--no-cache") == set()
    assert len(ran(checkout)) == 4
    before = (checkout / "results" / "report.md").read_text()
    assert ran(checkout) == set()
    assert (checkout / "results" / "report.md").read_text() == before  # the seconds of the runs too
    damage(checkout)
    assert len(ran(checkout)) == 4
    assert not (checkout / "planted").exists()
    append(checkout / "backends" / "second.py", "\n# changed\n")
    assert len(ran(checkout)) == 2
    append(checkout / "report" / "judging" / "judge.py", "\n# changed\n")
    (checkout / "one.yaml").write_text(CASE.replace("A neuron", "Another title") + PUBLISHED)
    (checkout / "two.yaml").write_text(CASE.replace("[1, 1]]", "[1, 2]]"))
    assert len(ran(checkout)) == 2


PUBLISHED = """\
source: a book
note: a note
tolerance: {float64: {rtol: 0.5}}
published: [{tensor: parameter/neuron.bias, step: 0, value: "0", source: a book}]
"""


def damage(checkout: Path) -> None:
    """Spoil all that is kept, each in another way."""
    planted = pickle.dumps(Planted(str(checkout / "planted")))
    wrong = [planted, sealed(planted), sealed(dump({"of": "another kind"})), sealed(dump("x")), b""]
    for number, path in enumerate(sorted((checkout / ".kept").glob("*.kept"))):
        content = path.read_bytes()
        path.write_bytes([content[:20], content[:-1] + b"x", *wrong][number % 7])


class Planted:
    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_run_that_is_not_as_it_was_is_none(tmp_path):
    kept = Cache(tmp_path / "kept")
    (tmp_path / "run").write_bytes(b"numbers")
    found = kept.keep_run("key", tmp_path / "run")
    assert kept.run("key") == found == kept.keep_run("key", found.file)
    assert kept.run("another") is None
    for content in (b"number", b"Numbers"):
        found.file.write_bytes(content)
        assert kept.run("key") is None
    kept.keep_run("key", found.file)
    found.file.unlink()
    assert kept.run("key") is None


def test_a_package_that_was_built_again_under_its_version_is_run_again(tmp_path, monkeypatch, problem_of):
    """In another folder too, which comes first now."""
    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "one.py").write_text("import some_package.part\n")
    monkeypatch.setattr(backproof, "__path__", [str(tmp_path)])
    monkeypatch.setitem(BACKENDS, "numpy", "backproof.backends.one")
    keys = []
    for folder, content in [("a", "x = 1"), ("a", "x = 2, 3"), ("b", "x = 2, 3")]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "some_package.py").write_text(content)
        monkeypatch.syspath_prepend(tmp_path / folder)
        for cached in (cache.files_of, cache.packages, cache.sources):
            cached.cache_clear()
        keys.append(run_key(problem_of(), "numpy"))
    for cached in (cache.packages, cache.sources):
        cached.cache_clear()
    assert len({*keys}) == 3


def test_files_of_a_package_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "some_framework" / "inner"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "one.py").write_text("a = 1")
    seen = [files_of.__wrapped__("some_framework")]
    (folder / "__pycache__").mkdir()
    assert files_of.__wrapped__("some_framework") == seen[0]
    (folder / "one.py").write_text("a = 12")
    seen.append(files_of.__wrapped__("some_framework"))
    os.utime(folder / "one.py", (1, 1))
    seen.append(files_of.__wrapped__("some_framework"))
    (folder / "two.py").touch()
    seen.append(files_of.__wrapped__("some_framework"))
    assert len({*seen, files_of.__wrapped__("no_such_package")}) == 5
    assert {"jax", "jaxlib", "optax", "numpy"} <= named_packages("backproof.backends.jax_autograd.eager")
    assert not {"torch", "backends", "os", "__future__"} & named_packages("backproof.backends.jax_autograd.eager")


@pytest.mark.parametrize(("place", "cleaned"), [("{}/x", "x"), ("x", "home/.cache"), ("", "home/.cache")])
def test_make_clean_removes_the_cache_that_is_used_and_no_other(tmp_path, place, cleaned):
    """Where XDG_CACHE_HOME is relative it is none."""
    kept = {folder: tmp_path / folder / "backproof" for folder in ("x", "home/.cache")}
    for folder in kept.values():
        folder.mkdir(parents=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": place.format(tmp_path)}
    command = ["make", "-f", str(ROOT / "Makefile"), "clean"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert [folder for folder, path in kept.items() if not path.exists()] == [cleaned]


def test_a_cache_that_cannot_be_written_is_said_and_costs_nothing(checkout):
    done = report(checkout, "--backend=numpy", BACKPROOF_CACHE="one.yaml")
    assert done.returncode == 0
    told = " ".join(done.stderr.split())
    assert "nothing is kept for the next report, for the cache can't be written: " in told
    assert "BACKPROOF_CACHE" in told


def test_one_s_own_code_is_always_run(problem_of):
    assert run_key(problem_of(), "mine=mine.py:gradients") is None
    assert run_key(problem_of(), "numpy") is not None


def test_keys_differ_wherever_a_problem_does(problem_of):
    problem = problem_of()
    other = [
        replace(problem, name="other"),
        replace(problem, loss=problem.loss.model_copy(update={"factor": 0.5000000001})),
        replace(problem, inputs=np.nextafter(problem.inputs, 9)),
        replace(problem, recorded=problem.recorded[:3]),
        replace(problem, trained=problem.trained[:1]),
        problem_of("float32"),
    ]
    keys = [run_key(one, "numpy") for one in (problem, *other)] + [run_key(problem, "torch")]
    assert len({*keys}) == len(keys)
    assert run_key(problem_of(), "numpy") == keys[0]
    told = problem_of(
        published=[{"tensor": "loss", "step": 0, "value": "1", "source": "a"}], tolerance={"float64": {"rtol": 0.5}}
    )
    assert run_key(told, "numpy") == keys[0]
    judged = [judgement_key(keys[0], digest, one) for one in (problem, told) for digest in ("", "x")]
    assert len({*judged}) == 4
    assert key_of([1], [2]) != key_of([1, 2])


def test_what_is_told_of_a_case_depends_on_what_it_says():
    """A section has the settings that are written, also where they are the default."""
    said = load(CASES / "xor" / "two_four_one.yaml")
    sgd = said.training.optimizer
    more = said.training.model_copy(update={"optimizer": type(sgd)(**dict(sgd))})
    assert dump(said) != dump(said.model_copy(update={"training": more}))
    assert dump(said) == dump(load(CASES / "xor" / "two_four_one.yaml"))


def test_sources_are_those_that_a_module_imports(monkeypatch):
    """Those of torch are not of JAX; the reference is the NumPy backend's."""
    read = []
    original = cache._file
    monkeypatch.setattr(cache, "_file", lambda name: read.append(name) or original(name))
    sources.cache_clear()
    sources("backproof.backends.torch_autograd")
    assert "backproof.cases.problem" in read
    assert not {"backproof.backends.jax_autograd", "backproof.reference.training", "backproof.report.judging.judge"} & {
        *read
    }
    read.clear()
    sources("backproof.backends.numpy_reference")
    assert "backproof.reference.numbers.bounded" not in read
    assert "backproof.reference.formulas.activations" in read
    sources.cache_clear()


def test_what_was_used_longest_ago_is_forgotten(tmp_path):
    kept, keys = Cache(tmp_path), [key_of(name) for name in "abc"]
    for number, key in enumerate(keys):
        kept.put(key, "x" * 1000)
        os.utime(tmp_path / f"{key}.kept", (number, number))
    assert kept.get(keys[0], str) == "x" * 1000  # and is used now
    kept.shrink(2500)
    assert [kept.get(key, str) is not None for key in keys] == [True, False, True]


def test_files_of_ones_own_in_the_folder_of_the_cache_stay_as_they_are(tmp_path):
    """Whatever they are called, and however large the cache has grown."""
    mine = {"model.safetensors", "notes.kept", ".gitignore", f"{key_of(0)}.txt", f"my-{key_of(0)}.safetensors"}
    for name in mine:
        (tmp_path / name).write_text("mine")
    kept = Cache(tmp_path)
    kept.put(key_of(1), "ours")
    kept.shrink(0)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(mine, "mine")


def test_a_new_folder_of_the_cache_holds_nothing_but_the_cache(tmp_path):
    Cache(tmp_path / "new")
    assert not [*(tmp_path / "new").iterdir()]


# ---------------------------------------------------------------- all at once


def test_a_full_disk_leaves_the_report_of_before(tmp_path, monkeypatch):
    write_all(tmp_path, {"report.md": b"good", "figures/a.svg": b"old", "figures/b.svg": b"old"}, "figures/*.svg")
    write, written = Path.write_bytes, []

    def full(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_all(tmp_path, {"report.md": b"new", "figures/a.svg": b"new"}, "figures/*.svg")
    assert (tmp_path / "report.md").read_bytes() == b"good"
    assert (tmp_path / "figures" / "a.svg").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".written", "figures", "report.md"]
    monkeypatch.undo()
    write_all(tmp_path, {"report.md": b"new", "figures/a.svg": b"new"}, "figures/*.svg")
    assert (tmp_path / "report.md").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["a.svg"]


def test_a_list_of_what_was_written_removes_nothing_else(tmp_path):
    """Whatever somebody has written into it."""
    (tmp_path / "out" / "figures" / "deep").mkdir(parents=True)
    mine = [tmp_path / "a.svg", tmp_path / "out" / "figures" / "deep" / "a.svg", tmp_path / "out" / "a.svg"]
    for path in mine:
        path.touch()
    names = ["figures/../../a.svg", "figures/deep/a.svg", "a.svg", str(mine[0]), "figures/old.svg", 3]
    for content in (json.dumps(names).encode(), b"[" * 100_000, b"3", b"\xff", b""):
        (tmp_path / "out" / atomic_folder.WRITTEN).write_bytes(content)
        (tmp_path / "out" / "figures" / "old.svg").touch()
        write_all(tmp_path / "out", {"report.md": b""}, "figures/*.svg")
        assert all(path.exists() for path in mine)
        assert (tmp_path / "out" / "figures" / "old.svg").exists() == (b"old" not in content)


def test_a_report_that_does_not_fit_leaves_the_good_one(checkout):
    """No file may grow beyond 6 KiB: runs fit, the report does not."""
    assert report(checkout, "--backend=numpy").returncode == 0
    before = {path: path.read_bytes() for path in (checkout / "results").rglob("*.*")}
    small = report(checkout, "--backend=numpy", limited_to=6144)
    assert small.returncode == 2
    assert small.stderr.splitlines()[-1] == "cannot write to results: File too large"
    assert {path: path.read_bytes() for path in (checkout / "results").rglob("*.*")} == before


# ---------------------------------------------------------------- GitHub


def test_the_summary_of_a_job_gets_the_report(tmp_path, monkeypatch):
    write_summary(b"nobody reads this\n")
    path = tmp_path / "summary"
    path.write_text("before\n")
    monkeypatch.setenv(atomic_folder.SUMMARY, str(path))
    write_summary(b"# report\n")
    assert path.read_text() == "before\n# report\n"
    write_summary(b"a line of the report\n" * 100_000)
    text = path.read_text()
    assert len(text) <= 2**20
    assert text.endswith(f"a line of the report\n{CUT}")


def test_a_summary_that_is_cut_is_closed():
    report = b"<details><summary>x</summary>\n\n```text\n" + b"row\n" * 400 + b"```\n\n</details>\n"
    cut = cut_off(report, 800).decode()
    assert len(cut) <= 800
    assert cut.count("<details>") == cut.count("</details>") == 1
    assert cut.count("```") == 2
    assert cut_off(report, 10_000) == report
    assert cut_off(report, 0) == b""


RAISES = """\
from backproof.backends.registry import Unsupported
from backproof.backends.returned import WrongReturn
def run(problem): raise {}('not this')
"""


@pytest.mark.parametrize(
    ("error", "fail_on", "code"),
    [
        ("WrongReturn", "difference", 0),
        ("WrongReturn", "incomplete", 3),
        ("WrongReturn", "unsupported", 3),
        ("Unsupported", "difference", 0),
        ("Unsupported", "incomplete", 0),
        ("Unsupported", "unsupported", 4),
    ],
)
def test_fail_on_decides_what_a_run_without_numbers_means(tmp_path, monkeypatch, error, fail_on, code):
    monkeypatch.chdir(tmp_path)
    Path("one.yaml").write_text(CASE)
    Path("mine.py").write_text(RAISES.format(error))
    backends = ("--backend=numpy", "--backend=mine=mine.py:run")
    assert main(["one.yaml", "--no-exact", "--executor=inline", f"--fail-on={fail_on}", *backends]) == code
    rows = json.loads(Path("results", "report.json").read_text())["results"]
    assert [row["verdict"] for row in rows] == ["certified", "error" if error == "WrongReturn" else "unsupported"]
