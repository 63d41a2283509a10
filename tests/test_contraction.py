"""`contract` is `einsum` with carried steps, for every kind of number, and as narrow as one sum."""

from timeit import repeat

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from backproof.reference.numbers.balls import balls, floats
from backproof.reference.numbers.contraction import contract
from backproof.reference.numbers.half import Half, half
from tests.reference.numbers.test_bounded import assert_sound, draws
from tests.trial.bounds import DTYPES, given

CASES = {
    "dense": ("ni,io->no", (4, 2), (2, 3)),
    "dense backward": ("no,io->ni", (4, 3), (2, 3)),
    "gradient of a weight": ("ni,no->io", (4, 2), (4, 3)),
    "both transposed": ("in,oi->no", (2, 4), (3, 2)),
    "result transposed": ("ni,io->on", (4, 2), (2, 3)),
    "scores": ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    "scores, the heads last": ("bqhd,bkhd->bhqk", (2, 4, 3, 5), (2, 6, 3, 5)),
    "two sums": ("btki,btko->io", (2, 3, 4, 2), (2, 3, 4, 5)),
    "convolution": ("bpti,tio->bpo", (2, 3, 4, 5), (4, 5, 6)),
    "outer product": ("i,j->ij", (3,), (4,)),
    "element by element": ("bi,bi->bi", (3, 4), (3, 4)),
    "inner product": ("i,i->", (3,), (3,)),
    "a vector": ("i,io->o", (3,), (3, 4)),
    "a scalar": (",ab->ba", (), (3, 4)),
}
CARRIED = {
    "samples": ("i,io->o", (4, 2), (2, 3), "ni,io->no"),
    "samples and positions": ("i,io->o", (4, 5, 2), (2, 3), "nti,io->nto"),
    "steps": ("ni,io->no", (6, 4, 2), (6, 2, 3), "sni,sio->sno"),
    "steps, transposed": ("no,io->ni", (6, 4, 3), (6, 2, 3), "sno,sio->sni"),
    "steps, samples, positions": ("i,io->o", (6, 4, 5, 2), (6, 2, 3), "snti,sio->snto"),
    "as many steps as samples": ("i,io->o", (4, 4, 2), (4, 2, 3), "sni,sio->sno"),
    "kept in the second": ("oi,i->o", (6, 3, 2), (6, 5, 2), "soi,sni->sno"),
    "two axes of steps": ("ni,io->no", (2, 6, 4, 3), (2, 6, 3, 5), "xsni,xsio->xsno"),
    "batch and kept": ("bi,bi->b", (6, 7, 3, 2), (6, 3, 2), "snbi,sbi->snb"),
}
EVERY = {name: (*case, case[0]) for name, case in CASES.items()} | CARRIED


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [np.random.default_rng(place).normal(size=shape) for place, shape in enumerate(shapes)]


@pytest.mark.parametrize(("subscripts", "of_a", "of_b", "in_full"), EVERY.values(), ids=EVERY)
def test_contract_is_einsum(subscripts, of_a, of_b, in_full):
    """Of every kind of number."""
    a, b = arrays(of_a, of_b)
    desired = np.einsum(in_full, a, b)
    found = contract(subscripts, a, b)
    assert found.shape == desired.shape
    np.testing.assert_allclose(found, desired)
    np.testing.assert_allclose(
        contract(subscripts, given(a), given(b)).value,
        np.einsum(in_full, *map(np.float32, (a, b))),
        rtol=1e-5,
        atol=1e-5,
    )
    np.testing.assert_allclose(floats(contract(subscripts, balls(a), balls(b))), desired)
    for dtype in (np.float16, bfloat16):
        halves = contract(subscripts, half(a.astype(dtype)), half(b.astype(dtype)))
        assert (type(halves), halves.dtype) == (Half, np.dtype(dtype))
        np.testing.assert_allclose(floats(halves), desired, rtol=0.05, atol=0.2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("subscripts", "of_a", "of_b", "_"), EVERY.values(), ids=EVERY)
def test_contract_is_sound(subscripts, of_a, of_b, _, dtype):
    random = np.random.default_rng(3)
    for hostile in (False, True):
        assert_sound(lambda a, b: contract(subscripts, a, b), draws(random, dtype, of_a, of_b, hostile=hostile), random)


@settings(deadline=None)
@drawn(st.data())
def test_any_subscripts(data):
    """Random letters, axes in front, sizes."""
    letters = data.draw(st.permutations("abcde"))
    shared = letters[: data.draw(st.integers(0, 3))]
    of_a = data.draw(st.permutations([*shared, *letters[3:4]]))
    of_b = data.draw(st.permutations([*shared, *letters[4:]]))
    summed = data.draw(st.lists(st.sampled_from(shared), unique=True)) if shared else []
    of_result = data.draw(st.permutations(sorted({*of_a, *of_b} - {*summed})))
    sizes = dict(zip("abcdexyz", data.draw(st.lists(st.integers(1, 4), min_size=8, max_size=8)), strict=True))
    steps, kept = "xy"[: data.draw(st.integers(0, 2))], "z"[: data.draw(st.integers(0, 1))]
    front = data.draw(st.permutations([steps + kept, steps]))
    subscripts = f"{''.join(of_a)},{''.join(of_b)}->{''.join(of_result)}"
    in_full = f"{front[0]}{''.join(of_a)},{front[1]}{''.join(of_b)}->{steps}{kept}{''.join(of_result)}"
    a, b = arrays(*([sizes[letter] for letter in [*one, *of]] for one, of in zip(front, (of_a, of_b), strict=True)))
    np.testing.assert_allclose(contract(subscripts, a, b), np.einsum(in_full, a, b), atol=1e-12)


def test_the_bound_is_that_of_one_sum_whatever_its_axes():
    a, b = (given(array) for array in arrays((2, 3, 4, 2), (2, 3, 4, 5)))
    found = contract("btki,btko->io", a, b)
    flat = a.reshape(24, 2).mT @ b.reshape(24, 5)
    assert found.terms[0] == 24
    for known in ("value", "bound", "magnitude", "grid"):
        np.testing.assert_array_equal(getattr(found, known), getattr(flat, known))


def test_a_bias_may_come_first():
    x, weight, bias = (given(array) for array in arrays((6, 4, 5, 2), (6, 2, 3), (6, 4, 5, 3)))
    found = contract("i,io->o", x, weight) + bias
    desired = x.reshape(6, 20, 2) @ weight + bias.reshape(6, 20, 3)
    np.testing.assert_array_equal(found.bound.reshape(6, 20, 3), desired.bound)


MISTAKES = {
    "no arrow": ("ni,io", (4, 2), (2, 3), 'expected subscripts such as "ni,io->no", found \'ni,io\''),
    "one operand": ("ni->n", (4, 2), (2, 3), "expected subscripts such as"),
    "a letter twice": ("nn,no->o", (4, 4), (4, 3), r"expected each axis once in 'nn', found \['n'\] twice"),
    "an unknown letter": ("ni,io->nx", (4, 2), (2, 3), r"expected axes of the operands in the result, found \{'x'\}"),
    "a sum over one": ("ni,io->o", (4, 2), (2, 3), r"add up over axes that both operands have, found \{'n'\} in one"),
    "too few axes": ("ni,io->no", (2,), (2, 3), "expected 2 and 2 axes or more, found 1 and 2"),
    "sizes": (
        "ni,io->no", (4, 2), (3, 3),
        r"expected one size of the axis i, found 2 and 3 in the shapes \(4, 2\) and \(3, 3\)",
    ),
    "sizes in another order": ("btki,btko->io", (2, 3, 4, 2), (3, 2, 4, 5), "expected one size of the axis b"),
    "a step for all": ("ni,io->no", (6, 4, 2), (1, 2, 3), "expected one size of the axis 0 of steps, found 6 and 1"),
    "samples for steps": ("i,io->o", (4, 5, 2), (5, 2, 3), "expected one size of the axis 0 of steps, found 4 and 5"),
}  # fmt: skip


@pytest.mark.parametrize("kind", [np.asarray, given, balls])
@pytest.mark.parametrize(("subscripts", "of_a", "of_b", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_words(subscripts, of_a, of_b, words, kind):
    with pytest.raises(ValueError, match=words):
        contract(subscripts, *map(kind, arrays(of_a, of_b)))


def test_a_product_of_matrices_costs_hardly_more_than_itself():
    """Half a microsecond was measured at 0.2; ten times that is a plan that is made anew."""
    a, b = arrays((4, 2), (2, 3))
    with_plan, alone = (
        min(repeat(product, number=2000, repeat=20)) / 2000
        for product in (lambda: contract("ni,io->no", a, b), lambda: a @ b)
    )
    assert with_plan - alone < 5e-6
