"""The examples of `docs/training-loops.md` run as they stand, one after another."""

import importlib.util
import re
import warnings
from pathlib import Path

import pytest

import backproof

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training-loops.md"
PARTS = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
BLOCK = re.compile(r"^(<!-- test: the case is made first -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]\d+)?")
WITHOUT_A_CASE = "certify_training("


def blocks(heading: str) -> list[str]:
    """The examples below a heading; the one that writes the case comes as soon as it is needed."""
    (text,) = [part for part in PARTS if part.startswith(f"{heading}\n")]
    found = [(bool(needs), code) for needs, code in BLOCK.findall(text)]
    made = [code for _, code in found if WITHOUT_A_CASE in code]
    order = []
    for needs, code in found:
        order += [f"import backproof\n{one}" for one in made] * needs + [code]
    return order


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return {"__name__": "page"}


def test_the_examples_of_pytorch(here):
    """Each `certify` in them raises unless it certifies."""
    found = blocks("PyTorch")
    assert sum(code.count("backproof.certify_run(") for code in found) == 3
    for code in found:
        exec(code, here)  # noqa: S102, it is our own page
    assert (Path("mine.yaml").is_file(), Path("x.safetensors").is_file()) == (True, True)


def test_a_loop_without_zero_grad_is_told_as_the_page_has_it(here):
    first, second = blocks("PyTorch")[:2]
    exec(first + second, here)  # noqa: S102, it is our own page
    model = here["model_of_today"]()
    optimizer = here["torch"].optim.Adam(model.parameters(), lr=0.01)
    optimizer.zero_grad = lambda: None
    with backproof.record(model, optimizer, loss=here["loss"]) as run:
        here["train"](model, optimizer)
    with pytest.raises(backproof.NotCertified) as refused:
        backproof.certify_run(run, "mine.yaml")
    words, page = (NUMBER.sub("N", " ".join(text.split())) for text in (str(refused.value), PAGE.read_text("utf-8")))
    assert words in page


@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="Lightning is not installed")
def test_the_example_of_lightning(here):
    (code,) = blocks("Lightning")
    for before in blocks("PyTorch")[:2]:
        exec(before, here)  # noqa: S102, it is our own page
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of workers, and of what is not logged
        exec(code, here)  # noqa: S102, likewise
    assert len(here["recorder"].run.steps) == 12
