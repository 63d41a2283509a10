"""The tensors of a run are listed once: a run of our own holds exactly these, and the page on files names them all."""

from pathlib import Path

from backproof.backends import numpy_reference
from backproof.backends.trajectory import ALONE, GROUPS, flat
from backproof.cases.tensors import tensors_of

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_holds_exactly_these(problem_of):
    """Of a network with a mask, an optimizer with a state and a schedule."""
    training = {
        "steps": 5,
        "batch": {"size": 2},
        "optimizer": {"adam": {"learning_rate": 0.1}},
        "schedule": {"exponential_decay": {"factor": 0.9}},
    }
    problem = problem_of(training=training)
    listed = {f"{one.field}/{one.name}".rstrip("/"): (one.shape, one.dtype) for one in tensors_of(problem)}
    found = {name: (array.shape, array.dtype) for name, array in flat(numpy_reference.run(problem)).items()}
    assert found.pop("steps") is not None
    assert found == listed


def test_the_page_on_files_names_every_field():
    page = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    named = {field: (f"`{field}", f"`{field.rsplit('_', 1)[0]}_") for field in (*GROUPS, *ALONE)}
    assert [field for field, names in named.items() if not any(name in page for name in names)] == []
