"""Backends are told apart by every eye: their colours where red or green is not seen, and their markers."""

from itertools import combinations

import numpy as np
import pytest

from backproof.report.telling.palette import OURS, looks

TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
EYES = {
    "all colours": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
OWN = [f"mine{number}" for number in range(8)]
JUST_SEEN = 2.3  # of two colours side by side, in CIELAB


def linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(colour: str, eye: str) -> np.ndarray:
    seen = np.clip(np.array(EYES[eye]) @ linear(colour), 0, 1)
    x, y, z = TO_XYZ @ seen / (0.95047, 1, 1.08883)
    f = [np.cbrt(t) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(names: list[str], eye: str) -> float:
    found = looks(names)
    colours = [lab(found[name].colour, eye) for name in names]
    return min(float(np.linalg.norm(one - other)) for one, other in combinations(colours, 2))


def test_the_distance_is_that_of_cielab():
    """White is 100 from black, and Sharma's red and green are as far apart as everybody finds."""
    assert np.linalg.norm(lab("#ffffff", "all colours") - lab("#000000", "all colours")) == pytest.approx(100, abs=0.01)
    assert np.linalg.norm(lab("#ff0000", "all colours") - lab("#00ff00", "all colours")) == pytest.approx(
        170.6, abs=0.1
    )
    assert np.linalg.norm(lab("#ff0000", "no green") - lab("#00ff00", "no green")) < 60


@pytest.mark.parametrize("eye", EYES)
def test_colours_are_far_apart(eye):
    """The first eight by ten times what can just be seen, all thirteen by six times."""
    assert nearest(["numpy", "torch", "jax", *OWN[:5]], eye) > 9.5 * JUST_SEEN
    assert nearest([*OURS, *OWN], eye) > 6 * JUST_SEEN


def test_each_has_its_own_marker():
    assert len({look.marker for look in looks(OWN).values()}) == len(OURS) + len(OWN)


def test_no_two_of_many_look_alike():
    many = looks(f"mine{number}" for number in range(60))
    assert len({*many.values()}) == len(OURS) + 60


def test_a_look_is_the_same_in_every_figure():
    """Wherever ours stand, and however often one of one's own is named."""
    assert looks(["mine", "torch"])["mine"] == looks(["numpy", "mine", "mine", "other"])["mine"]


@pytest.mark.parametrize("paper", ["#ffffff", "#0d1117"])
def test_every_colour_is_seen_on_light_and_on_dark(paper):
    def light(colour: str) -> float:
        return TO_XYZ[1] @ linear(colour) + 0.05

    for look in looks(OWN).values():
        ratio = light(look.colour) / light(paper)
        assert max(ratio, 1 / ratio) > 2, look
