"""Twelve bugs of training loops: each is refused where it is, and named."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR

import backproof
from tests.support.loops import MSE, SIZE, STEPS, case, data, net, plain, recorded, sgd, steps


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The cases of right loops: a plain one, with dropout, a schedule, clipping, a penalty on weights."""
    folder, model = tmp_path_factory.mktemp("cases"), net()
    optimizer = sgd(model)
    found = {
        "plain": case(folder / "plain.yaml"),
        "dropout": case(folder / "dropout.yaml", net(rate=0.4)),
        "schedule": case(folder / "schedule.yaml", model, optimizer, scheduler=ExponentialLR(optimizer, 0.9)),
        "clip": case(folder / "clip.yaml", clip=0.1),
        "penalty": folder / "penalty.yaml",
    }
    text = found["plain"].read_text(encoding="utf-8")
    penalty = "penalties: [l2: {coefficient: 0.01, parameters: ['0.weight', '2.weight']}]\ntraining:"
    found["penalty"].write_text(text.replace("training:", penalty), encoding="utf-8")
    return found


# ---------------------------------------------------------------- loops


def without_zero_grad(model, optimizer):
    for x, t in steps():
        MSE(model(x), t).backward()
        optimizer.step()


def forgotten_eval(model, optimizer):
    for step, (x, t) in enumerate(steps()):
        optimizer.zero_grad()
        MSE(model(x), t).backward()
        optimizer.step()
        if step == 2:
            model.eval()
            with torch.no_grad():
                MSE(model(x), t)


def scheduled(when: str):
    def loop(model, optimizer):
        scheduler = ExponentialLR(optimizer, 0.9)
        optimizer._opt_called = True  # torch would warn of what is planted here
        for step, (x, t) in enumerate(steps()):
            if when == "early":
                scheduler.step()
            optimizer.zero_grad()
            MSE(model(x), t).backward()
            optimizer.step()
            if when == "right" or (when == "late" and step):
                scheduler.step()

    return loop


def clipped(*, after: bool):
    def loop(model, optimizer):
        for x, t in steps():
            optimizer.zero_grad()
            MSE(model(x), t).backward()
            if after:
                optimizer.step()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            if not after:
                optimizer.step()

    return loop


def decayed(which: str):
    def loop(model, optimizer):
        for x, t in steps():
            optimizer.zero_grad()
            decay = sum(w.square().sum() for path, w in model.named_parameters() if which in path)
            (MSE(model(x), t) + 0.01 * decay).backward()
            optimizer.step()

    return loop


def summed(model, optimizer):
    for x, t in steps():
        optimizer.zero_grad()
        nn.MSELoss(reduction="sum")(model(x), t).backward()
        optimizer.step()


def changing_its_data(model, optimizer):
    x, t = data()
    for step in range(STEPS):
        first = SIZE * (step % 3)
        seen = x[first : first + SIZE]
        optimizer.zero_grad()
        MSE(model(seen), t[first : first + SIZE]).backward()
        optimizer.step()
        seen.mul_(0.5)  # a view


def accumulating(model, optimizer, size: int = 3):
    for x, t in steps():
        optimizer.zero_grad()
        parts = [*zip(x.split(size), t.split(size), strict=True)]
        for seen, targets in parts:
            (MSE(model(seen), targets) / len(parts)).backward()
        optimizer.step()


def with_two_optimizers(model, optimizer):
    other = torch.optim.SGD(model[2].parameters(), lr=0.01)
    for x, t in steps():
        optimizer.zero_grad()
        MSE(model(x), t).backward()
        optimizer.step()
        other.step()


# ---------------------------------------------------------------- models


class Detached(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.hidden, self.act, self.readout = layers

    def forward(self, x):
        return self.readout(self.act(self.hidden(x)).detach())


class InPlace(Detached):
    def forward(self, x):
        h = self.hidden(x)
        h.view(-1).clamp_(-1, 1)
        return self.readout(self.act(h))


class Single(nn.Linear):
    def forward(self, input):  # noqa: A002, torch calls it so
        return F.linear(input.float(), self.weight.float(), self.bias.float()).to(input.dtype)


class UpdatingProduct(torch.autograd.Function):
    """A product whose backward pass updates the weight before it has used it."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x)
        ctx.weight = weight
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        gradient = dy.T @ x
        ctx.weight.data.sub_(0.1 * gradient)
        return dy @ ctx.weight, gradient, dy.sum(0)


class Updating(nn.Linear):
    def forward(self, input):  # noqa: A002, torch calls it so
        return UpdatingProduct.apply(input, self.weight, self.bias)


def with_layer(kind: type, place: int) -> nn.Sequential:
    """The network with another linear layer of the same weights."""
    model = net()
    layer = kind(model[place].in_features, model[place].out_features, dtype=torch.float64)
    layer.load_state_dict(model[place].state_dict())
    model[place] = layer
    return model


def all_but_the_last_weight(model):
    return torch.optim.SGD([w for path, w in model.named_parameters() if path != "2.weight"], lr=0.1)


# ---------------------------------------------------------------- refused and named


def dropping():
    return net(rate=0.4)


def detached():
    return Detached(net())


def in_place():
    return InPlace(net())


MEAN = "a sum over the batch and the outputs in place of a mean"
PARTS = "a mean of the means over 3 parts of the batch"
BUGS = {
    "no zero_grad": ("plain", net, without_zero_grad, "step 1, gradient of 2.weight", "not reset between steps"),
    "eval mode forgotten": ("dropout", dropping, forgotten_eval, "step 3, value of 2 ", "was in eval mode"),
    "scheduler early": ("schedule", net, scheduled("early"), "step 0, learning rate", "the rate of the next step"),
    "scheduler late": ("schedule", net, scheduled("late"), "step 1, learning rate", "the rate of the step before"),
    "clipping after the step": ("clip", net, clipped(after=True), "step 0, update of 0.weight", "one after the step"),
    "decay on biases": ("penalty", net, decayed(""), "step 0, loss", "the l2 penalty on the biases as well"),
    "wrong reduction": ("plain", net, summed, "step 0, loss", MEAN),
    "detach": ("plain", detached, plain, "step 0, cotangent of 1 ", "value of act (Tanh): is it detached?"),
    "in-place view": ("plain", in_place, plain, "step 0, value of 1 ", "hidden (Linear) was changed in place"),
    "view of the data": ("plain", net, changing_its_data, "step 3, value of input", "were they changed in place"),
    "mean of means": ("plain", net, accumulating, "step 0, loss", PARTS),
    "two optimizers": ("plain", net, with_two_optimizers, "step 1, continuity of 2.weight", "another optimizer"),
    "float32 in one layer": (
        "plain",
        partial(with_layer, Single, 0),
        plain,
        "step 0, value of 0 ",
        "is one of float32",
    ),
    "updated weights": ("plain", partial(with_layer, Updating, 2), plain, "cotangent of 1 ", "are already updated"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_refused_and_named(cases, bug):
    which, make, loop, where, hint = BUGS[bug]
    model = make()
    optimizer = all_but_the_last_weight(model) if bug == "updated weights" else sgd(model)
    run = recorded(loop, model, optimizer)
    with pytest.raises(backproof.NotCertified) as refused:
        backproof.certify_run(run, cases[which])
    assert where in str(refused.value)
    assert hint in str(refused.value)


RIGHT = {
    "plain": (net, plain),
    "dropout": (dropping, plain),
    "schedule": (net, scheduled("right")),
    "clip": (net, clipped(after=False)),
    "penalty": (net, decayed("weight")),
}


@pytest.mark.parametrize("which", RIGHT)
def test_the_right_loop_is_certified(cases, which):
    """So that each is refused for its bug alone; and the hooks find nothing odd."""
    make, loop = RIGHT[which]
    model = make()
    run = recorded(loop, model, sgd(model))
    assert backproof.certify_run(run, cases[which]).verdict == "certified"
    assert run.notes == {}


def test_equal_parts_are_no_mean_of_means(cases):
    """Four and four samples in most steps; the last batch of an epoch has four alone."""
    model = net()
    run = recorded(lambda *both: accumulating(*both, size=4), model, sgd(model))
    assert backproof.certify_run(run, cases["plain"]).verdict == "certified"
    assert [len(step.passes) for step in run.steps] == [2, 2, 1] * 3
