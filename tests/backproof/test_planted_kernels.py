"""Wrong gradients that were released, planted as kernels: refused with inputs that show them, and only with those."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kernels.planted import PLANTED

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "support" / "kernels"


@pytest.fixture(scope="module")
def messages():
    """What certifying each of them says, where the package of their layers is installed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (PACKAGE, ROOT)))}
    command = [sys.executable, str(PACKAGE / "planted.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [name for name, one in PLANTED.items() if one.shown])
def test_a_wrong_kernel_is_refused_and_the_right_one_certified(messages, name):
    assert PLANTED[name].told in messages[name]["shown"]
    assert messages[name]["right"] == ""


@pytest.mark.parametrize("name", [name for name, one in PLANTED.items() if one.hidden])
def test_there_are_inputs_that_hide_it(messages, name):
    assert messages[name]["hidden"] == ""


@pytest.mark.parametrize("name", [name for name, one in PLANTED.items() if one.hostile])
def test_hostile_inputs_show_what_the_given_ones_hide(messages, name):
    assert "in place of" in messages[name]["hostile"]
