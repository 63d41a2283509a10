"""The examples of `docs/training-loops-jax.md` run as they stand, each behind those that need no other package."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

import backproof
from tests.backends.jax_recording.test_recorder import wrong_tanh

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "training-loops-jax.md"
PARTS = dict(
    part.split("\n", 1) for part in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
)
OF_JAX = ["Three lines around your loop", "Which parameter is which", "In another process"]
NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]\d+)?")
OTHERS = {"flax linen": "flax", "flax nnx": "flax", "Equinox": "equinox"}


def blocks(heading):
    return re.findall(r"^```python\n(.*?)^```$", PARTS[heading], re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    shutil.copy(ROOT / "tests/backends/jax_recording/mlp.yaml", tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    return {"__name__": "page"}


def run(code, here):
    """Each `certify_run` raises unless it certifies."""
    assert "certify_run(" in "".join(code)
    for block in code:
        exec(block, here)  # noqa: S102, it is our own page


def test_the_examples_of_jax(here):
    run([block for heading in OF_JAX for block in blocks(heading)], here)
    assert Path("x.safetensors").is_file()


def test_a_wrong_derivative_is_told_as_the_page_has_it(here):
    first, second = blocks(OF_JAX[0])
    here["wrong_tanh"] = wrong_tanh
    exec(first.replace("jnp.tanh", "wrong_tanh"), here)  # noqa: S102, it is our own page
    with pytest.raises(backproof.NotCertified) as refused:
        exec(second, here)  # noqa: S102, likewise
    words, page = (NUMBER.sub("N", " ".join(text.split())) for text in (str(refused.value), PAGE.read_text("utf-8")))
    assert words in page


@pytest.mark.parametrize("heading", OTHERS)
def test_the_examples_of_other_packages(heading, here):
    if find_spec(OTHERS[heading]) is None:
        pytest.skip(f"needs {OTHERS[heading]}, of the extra test-others")
    run(blocks(OF_JAX[0]) + blocks(heading), here)
