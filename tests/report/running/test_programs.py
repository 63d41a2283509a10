"""JAX's programs in the cache: made once for a structure, and nothing but what was kept is there."""

import os
from pathlib import Path

import numpy as np
import pytest

from backproof.backends.trajectory_files import load_run
from backproof.cases.format.schema import Case
from backproof.cases.problem import materialise
from backproof.report.running.cache import Cache, key_of
from backproof.report.running.isolation import Workers, limits
from backproof.report.running.job import Unit, run_unit
from backproof.report.running.programs import WHERE, kept_programs
from tests.conftest import SMALL

PROGRAM = f"jit_train-{'0' * 64}-cache"


@pytest.fixture(autouse=True)
def _no_folder_of_the_users(monkeypatch):
    monkeypatch.delenv(WHERE, raising=False)


def test_a_structure_is_compiled_once_and_has_the_same_bits(tmp_path):
    cache, others = Cache(tmp_path), SMALL | {"data": SMALL["data"] | {"targets": [[0.2], [0.8], [0.3]]}}
    files, runs = [], []
    for number, settings in enumerate((SMALL, others, SMALL)):
        case, file = Case.model_validate(settings), tmp_path / f"{number}.run"
        with kept_programs(cache) as variables:
            workers = Workers(limits(1), variables)
            try:
                assert workers.call("jax", run_unit, Unit(case, "float32", "jax"), file) is None
            finally:
                workers.stop()
        files.append({path.name for path in tmp_path.glob("programs/*/jit_train-*")})
        runs.append(load_run(file, materialise(case, "float32")))
    assert len(files[0]) == 1
    assert files[0] == files[1] == files[2]
    assert not np.array_equal(runs[0].loss, runs[1].loss)
    assert runs[0].loss.tobytes() == runs[2].loss.tobytes()
    assert all(array.tobytes() == runs[2].after[path].tobytes() for path, array in runs[0].after.items())


def test_what_is_not_as_it_was_kept_is_gone(tmp_path):
    cache = Cache(tmp_path)
    with kept_programs(cache) as variables:
        folder = Path(variables[WHERE])
        for name in (PROGRAM, "changed"):
            (folder / name).write_text("as it was")
    (folder / "changed").write_text("as it was not")
    (folder / "new").write_text("of a report that was ended")
    with kept_programs(cache):
        assert [path.name for path in folder.iterdir()] == [PROGRAM]


def test_programs_count_among_what_is_kept(tmp_path):
    cache, mine = Cache(tmp_path), tmp_path / "programs" / "notes.txt"
    with kept_programs(cache) as variables:
        program = Path(variables[WHERE], PROGRAM)
        program.write_bytes(b"0" * 2000)
        mine.write_bytes(b"0" * 2000)
    os.utime(program, (0, 0))
    cache.put(key_of(0), "ours")
    cache.shrink(2000)
    assert not program.exists()
    assert mine.exists()
    assert cache.get(key_of(0), str) == "ours"


def test_without_a_cache_or_with_a_folder_of_the_users_nothing_is_set(tmp_path, monkeypatch):
    with kept_programs(None) as variables:
        assert variables == {}
    monkeypatch.setenv(WHERE, str(tmp_path))
    with kept_programs(Cache(tmp_path / "new")) as variables:
        assert variables == {}
    assert not [*(tmp_path / "new").iterdir()]
