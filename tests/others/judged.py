"""What the tests of other people's packages share: a function of theirs, judged on a case beside this file."""

from pathlib import Path

import pytest

import backproof

HERE = Path(__file__).parent


def certified(case, function):
    """Assert that a function is certified at each dtype of a case."""
    judgements = backproof.certify_case(HERE / f"{case}.yaml", function)
    assert {judgement.verdict for judgement in judgements.values()} == {"certified"}


def refused(case, function):
    """Return why a function is refused."""
    with pytest.raises(backproof.NotCertified) as raised:
        backproof.certify_case(HERE / f"{case}.yaml", function)
    return str(raised.value)
