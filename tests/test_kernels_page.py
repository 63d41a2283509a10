"""The examples of `docs/kernels.md` run as they stand; what they print is what the page shows, but for digits."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

import backproof

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?")


def masked(text: str) -> str:
    return " ".join(NUMBER.sub("N", text).split())


def printed(example: str) -> str:
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(example, "kernels.md", "exec"), {})  # noqa: S102, our own page
    return out.getvalue()


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed(example)


def test_the_first_one_is_certified_as_the_page_shows():
    assert masked(printed(EXAMPLES[0])) == masked(SHOWN[0])


def test_a_wrong_one_is_told_as_the_page_shows():
    wrong = EXAMPLES[0].replace("dy * (s + x * s * (1 - s))", "dy * s")
    assert wrong != EXAMPLES[0]
    with pytest.raises(backproof.NotCertified) as refused:
        printed(wrong)
    assert masked(f"NotCertified: {refused.value}") == masked(SHOWN[1])


def test_a_weight_that_is_not_transposed_is_told_as_the_page_shows():
    wrong = EXAMPLES[1].replace("linear.weight.T", "linear.weight")
    with pytest.raises(ValueError, match="transpose it") as refused:
        printed(wrong)
    assert str(refused.value) == SHOWN[2].strip()


def test_the_gpu_example_is_a_program():
    source = (ROOT / "docs" / "examples" / "triton_softmax.py").read_text(encoding="utf-8")
    compile(source, "triton_softmax.py", "exec")
