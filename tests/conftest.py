"""A small training scenario that the tests of the backends, the judge and the report share."""

import contextlib
import os
import sys

import pytest

from backproof.cases.format.schema import Case
from backproof.cases.problem import Problem, materialise
from backproof.cases.reading.kept import PLACE

SMALL = {
    "title": "small",
    "dtypes": ["float64", "float32"],
    "network": [
        {"dense": {"name": "hidden", "units": 3}},
        "tanh",
        {"dense": {"name": "readout", "units": 1, "bias": False}},
        "sigmoid",
    ],
    "parameters": {
        "hidden.weight": [[0.5, -0.3, 0.9], [0.1, 0.6, -1.1]],
        "hidden.bias": [0.1, -0.2, 0.3],
        "readout.weight": [[1.2], [-0.5], [0.7]],
    },
    "data": {"inputs": [[0.0, 1.0], [1.0, 0.3], [1.0, 1.0]], "targets": [[0.1], [0.9], [0.4]]},
    "loss": {"squared_error": {"factor": 0.5, "reduction": "sum"}},
    "training": {"steps": 40, "optimizer": {"sgd": {"learning_rate": 0.3}}},
}

# Files of tests, tests and fixtures that try what only Linux has (/dev/full, names of any bytes, daemons that are found
# again), and what Windows lacks: signals, groups of processes, limits of resources, bash, make, a compiler called cc,
# programs that start in an empty environment, and pipes that leave the end of a line as it is.
LINUX = {
    "seen",
    "test_a_report_that_nobody_reads_is_written",
    "test_no_name_of_a_file_reaches_a_terminal_as_a_command",
    "test_nothing_is_left_running",
    "test_progress_that_cannot_be_shown_changes_nothing",
}
UNIX = {
    "from_c",
    "test_broken_pipe_is_silent",
    "test_cache",
    "test_contributing",
    "test_dask",
    "test_isolation",
    "test_modes",
    "test_not_a_file",
    "test_pytest_plugin",
    "test_processes",
    "test_title_outside_the_terminals_encoding",
}

LONGEST = (
    "test_scenarios", "test_report", "test_mutants", "test_pytest_plugin", "test_cache", "test_wheel", "test_extension",
    "test_modes", "test_isolation", "test_optimizers", "test_accuracy", "test_in_a_browser", "test_your_own_page",
    "test_dask", "test_users_code", "test_certify", "test_certify_one", "test_planted_kernels",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that processes end together; skip what this system can't do."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    missing = {*(LINUX if sys.platform != "linux" else ()), *(UNIX if os.name == "nt" else ())}
    for item in items:
        names = {item.path.stem, getattr(item, "originalname", ""), *getattr(item, "fixturenames", ())}
        if missing & names:
            item.add_marker(pytest.mark.skip(reason=f"{sys.platform} lacks what this test tries"))


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory):
    """A cache of their own, which the programs that a test starts have too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PLACE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def problem_of():
    """Make a problem of a 2-3-1 network that trains for 40 steps on three samples, with these keys changed."""

    def make(dtype: str = "float64", **changes) -> Problem:
        settings = {key: value for key, value in (SMALL | changes).items() if value is not None}
        return materialise(Case.model_validate(settings), dtype)

    return make


@pytest.fixture(scope="module")
def loud_hints():
    """What goes wrong in a hint, which the judge leaves out then, fails the test."""
    from backproof.report.judging import blame, hints

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blame, "hint", hints.found)
        patch.setattr(blame, "suppress", lambda *_: contextlib.nullcontext())
        yield
