"""A training is read off its modules, run, written as a case, and judged."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import nn
from torch.optim import lr_scheduler

import backproof
from backproof.backends.torch_recording.modules import MODULES
from backproof.backends.torch_recording.settings import LOSSES, OPTIMIZERS, NotRead
from backproof.cases.problem import materialise
from backproof.cases.reading.load import load
from tests.support.loops import MSE, batches, data, net, sgd


def certified(tmp_path, model, loss=MSE, optimizer=None, pairs=None, steps=4, **more):
    path = tmp_path / "mine.yaml"
    found = backproof.certify_training(
        model, loss, optimizer or sgd(model), pairs or batches(), steps, path=path, **more
    )
    assert found.verdict == "certified"
    return load(path), found


def between(*layers) -> nn.Sequential:
    """Layers between two linear ones."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), *layers, nn.Linear(4, 2)).double()


# ---------------------------------------------------------------- the network

SETTINGS = {
    nn.LeakyReLU: {"negative_slope": 0.2}, nn.ELU: {"alpha": 0.5}, nn.CELU: {"alpha": 2.0},
    nn.GELU: {"approximate": "tanh"}, nn.Softplus: {"beta": 2.0}, nn.PReLU: {"num_parameters": 4},
    nn.Softmax: {"dim": -1}, nn.LogSoftmax: {"dim": -1}, nn.Dropout: {"p": 0.3}, nn.ReLU: {"inplace": True},
}  # fmt: skip
OF_WHOLE_DTYPE = [kind for kind in MODULES if kind not in (nn.Linear, nn.Hardsigmoid, nn.CELU, nn.Hardswish)]


@pytest.mark.parametrize("kind", OF_WHOLE_DTYPE, ids=lambda kind: kind.__name__)
def test_a_module_is_read(tmp_path, kind):
    case, found = certified(tmp_path, between(kind(**SETTINGS.get(kind, {}))))
    assert case.network[1].kind == MODULES[kind].kind
    assert (case.network[1].name, found.lacks) == ("1", ("cotangents/input",))


def test_torch_is_told_where_it_deviates(tmp_path):
    """celu divides by a float32 alpha in float64 too: the case is right, and torch is not."""
    with pytest.raises(backproof.NotCertified, match=r"cotangent of 0 .*the backward pass of the celu layer 1"):
        certified(tmp_path, between(nn.CELU(0.3)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.act, self.b, self.out = nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 2)
        self.double()

    def forward(self, x):
        h = self.act(self.a(x))
        h = h + self.act(self.b(h))
        h = F.leaky_relu(self.b(h), 0.2) + h
        return self.out(torch.relu(h))


def test_a_forward_with_residual_connections_and_a_layer_used_twice(tmp_path):
    case, _ = certified(tmp_path, Residual())
    kinds = [layer.kind for layer in case.network]
    assert " ".join(kinds) == "dense tanh dense tanh skip dense leaky_relu skip relu dense"
    assert {path: tie.parameter for path, tie in case.tied.items()} == {"b_2.weight": "b.weight", "b_2.bias": "b.bias"}


def test_tied_weights(tmp_path):
    model = between(nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[4].weight = model[2].weight
    case, _ = certified(tmp_path, model.double())
    assert case.tied["4.weight"].parameter == "2.weight"


def test_one_module_and_a_flattened_input(tmp_path):
    x, t = data()
    certified(tmp_path, nn.Linear(3, 2).double())
    image = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).double()
    case, _ = certified(tmp_path, image, pairs=[(x.reshape(-1, 1, 3, 1), t)])
    assert case.data.inputs.shape == (20, 3)


# ---------------------------------------------------------------- loss, optimizer, schedule


def targets_of(loss: nn.Module) -> torch.Tensor:
    x, _ = data()
    classes = (x[:, 0] > 0).long()
    if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss):
        return classes
    if isinstance(loss, nn.BCELoss | nn.BCEWithLogitsLoss | nn.KLDivLoss):
        return F.one_hot(classes, 2).double()
    return x[:, :2].abs()


LAST = {nn.BCELoss: nn.Sigmoid(), nn.NLLLoss: nn.LogSoftmax(-1), nn.KLDivLoss: nn.LogSoftmax(-1)}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore:reduction")
def test_a_loss_is_read(tmp_path, kind, reduction):
    loss, (x, _) = kind(reduction=reduction), data()
    model = net()
    model.append(LAST.get(kind, nn.Identity()))
    t = targets_of(loss)
    case, _ = certified(tmp_path, model, loss, pairs=[(x[:12], t[:12]), (x[12:], t[12:])])
    assert case.loss.kind == LOSSES[kind].kind


def test_class_weights_and_label_smoothing(tmp_path):
    weight = torch.tensor([0.3, 0.7], dtype=torch.float64)
    loss, (x, _) = nn.CrossEntropyLoss(weight, label_smoothing=0.1), data()
    case, _ = certified(tmp_path, net(), loss, pairs=[(x, targets_of(loss))])
    assert (case.loss.class_weights, case.loss.label_smoothing) == ((0.3, 0.7), 0.1)


OTHERS = {
    torch.optim.SGD: {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    torch.optim.RMSprop: {"momentum": 0.5, "centered": True},
    torch.optim.Adam: {"amsgrad": True, "weight_decay": 0.01},
    torch.optim.NAdam: {"decoupled_weight_decay": True, "weight_decay": 0.01},
}


@pytest.mark.parametrize("settings", [{}, OTHERS], ids=["default", "other"])
@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_an_optimizer_is_read(tmp_path, kind, settings):
    model = net()
    torch.set_default_dtype(torch.float64)  # of some scalars of torch.optim
    try:
        case, found = certified(tmp_path, model, optimizer=kind(model.parameters(), lr=0.01, **settings.get(kind, {})))
    finally:
        torch.set_default_dtype(torch.float32)
    assert case.training.optimizer.learning_rate == 0.01
    assert ("state" in found.phases) == bool(case.training.optimizer.state)


SCHEDULES = {
    "step_decay": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "exponential_decay": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "linear_decay": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, 3),
    "cosine_decay": lambda o: lr_scheduler.CosineAnnealingLR(o, 6, 0.01),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.5, 10, pct_start=0.4, cycle_momentum=False),
    "warm_up": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 2), lr_scheduler.StepLR(o, 2, 0.5)], [2]
    ),
}


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_a_scheduler_is_read(tmp_path, kind):
    model = net()
    optimizer = sgd(model)
    scheduler = SCHEDULES[kind](optimizer)
    case, found = certified(tmp_path, model, optimizer=optimizer, scheduler=scheduler, steps=7, clip={"value": 0.1})
    assert (case.training.schedule.kind, case.training.clip.kind) == (kind, "value")
    assert "learning rate" in found.phases


# ---------------------------------------------------------------- the case that is written


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_every_number_is_what_it_was(tmp_path, dtype):
    """In the YAML and in the file beside it, which has the larger arrays."""
    model = nn.Sequential(nn.Linear(3, 40), nn.Tanh(), nn.Linear(40, 2)).to(dtype)
    kept = {path: w.clone() for path, w in model.state_dict().items()}
    pairs = [(x.to(dtype), t.to(dtype)) for x, t in batches()]
    case, _ = certified(tmp_path, model, pairs=pairs, steps=2)
    problem = materialise(case, str(dtype).removeprefix("torch."))
    for path, w in kept.items():
        array = problem.parameters[path].astype(np.float64)
        assert np.array_equal(array, w.double().numpy().T)
    assert (tmp_path / "mine.npz").is_file()
    assert np.array_equal(problem.inputs[:8].astype(np.float64), pairs[0][0].double().numpy())


def test_everything_is_put_back(tmp_path):
    model = net(rate=0.5)
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    kept, random = [w.clone() for w in model.eval().parameters()], torch.get_rng_state()
    certified(tmp_path, model, optimizer=optimizer, scheduler=scheduler)
    assert all(map(torch.equal, kept, model.parameters()))
    assert torch.equal(random, torch.get_rng_state())
    assert (len(optimizer.state), optimizer.param_groups[0]["lr"], scheduler.last_epoch) == (0, 0.001, 0)
    assert not model.training
    assert all(w.grad is None for w in model.parameters())


def test_frozen_parameters(tmp_path):
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    case, _ = certified(tmp_path, model, optimizer=optimizer)
    assert set(case.frozen) == {"0.weight", "0.bias"}


def test_batches_that_come_again_are_written_once(tmp_path):
    x, t = data()
    case, _ = certified(tmp_path, net(), pairs=[(x, t)] * 4)
    assert (len(case.data.inputs), case.steps) == (20, 4)


# ---------------------------------------------------------------- what is not read


class Branching(nn.Linear):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else x


def groups(model):
    decays = [{"params": [w], "weight_decay": decay} for decay, w in enumerate(model.parameters())]
    return torch.optim.SGD(decays, lr=0.1)


def used(model):
    optimizer = torch.optim.Adam(model.parameters())
    MSE(model(data()[0]), data()[1]).backward()
    optimizer.step()
    return optimizer


REFUSED = {
    "module": ({"model": between(nn.BatchNorm1d(4))}, r"1 \(BatchNorm1d\): the format has no such layer"),
    "setting": ({"model": between(nn.Hardtanh(-2, 2))}, r"1 \(Hardtanh\): min_val = -2, where the format knows -1"),
    "function": ({"model": between(nn.Unflatten(1, (2, 2)))}, r"1 \(Unflatten\)"),
    "forward": ({"model": Branching(3, 3).double()}, r"Branching.forward can't be read by torch.fx"),
    "loss": ({"loss": nn.SoftMarginLoss()}, "the loss: SoftMarginLoss is none that is read"),
    "reduction": ({"loss": nn.MSELoss(reduction="none")}, "leaves no single number"),
    "weighted": ({"loss": nn.BCELoss(torch.ones(2))}, "the loss BCELoss: weight is given"),
    "optimizer": ({"optimizer": lambda m: torch.optim.LBFGS(m.parameters())}, "the optimizer: LBFGS is none"),
    "groups": ({"optimizer": groups}, "group 0 has weight_decay = 0, group 1 1"),
    "maximize": ({"optimizer": lambda m: sgd(m, maximize=True)}, "maximize is True"),
    "used": ({"optimizer": used}, "the optimizer has made steps already"),
    "part": ({"optimizer": lambda m: sgd(m[0])}, "2.weight requires a gradient, but the optimizer"),
    "scheduler": ({"scheduler": lr_scheduler.ReduceLROnPlateau}, "ReduceLROnPlateau is none"),
    "cosine": ({"scheduler": lambda o: lr_scheduler.CosineAnnealingLR(o, 2)}, "rises again behind T_max = 2"),
    "clip": ({"clip": "norm"}, "clip: expected a number"),
    "sizes": ({"pairs": batches()[::-1]}, "batch 1 has 8 samples, batch 0 has 4"),
    "batches": ({"pairs": [data()[0]]}, r"batch 0: expected \(inputs, targets\)"),
    "nothing": ({"pairs": iter(())}, "there is no batch"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_is_named(tmp_path, what):
    """And nothing is written, nothing is run."""
    given, message = REFUSED[what]
    given = {"model": net(), "loss": MSE, "pairs": batches(), "optimizer": sgd, **given}
    optimizer = given["optimizer"](given["model"])
    scheduler = given["scheduler"](optimizer) if "scheduler" in given else None
    with pytest.raises(NotRead, match=message):
        backproof.certify_training(
            given["model"], given["loss"], optimizer, given["pairs"], 4,
            scheduler=scheduler, clip=given.get("clip"), path=tmp_path / "mine.yaml",
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def function(output, targets):
    return F.mse_loss(output, targets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": function}, "the loss: expected a torch Module, found function"),
        ({"loss": None}, "the loss: expected a torch Module, found None"),
        ({"model": None}, "the model: expected a torch Module, found None"),
        ({"optimizer": None}, "the optimizer: expected a torch Optimizer, found None"),
        *(({"steps": n}, "steps: expected a number of updates, 1 or more") for n in (0, -1, 2.5, "a")),
    ],
)
def test_what_is_no_training_is_told(tmp_path, arguments, message):
    model = net()
    whole = {"model": model, "loss": MSE, "optimizer": sgd(model), "batches": batches(), "path": tmp_path / "x.yaml"}
    with pytest.raises(NotRead, match=message):
        backproof.certify_training(**whole | arguments)


def test_a_case_that_is_there_stays_as_it_is_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = net()
    backproof.certify_training(model, MSE, sgd(model), batches(), 2)
    written = (tmp_path / "mine.yaml").read_text()
    with pytest.raises(FileExistsError, match=r"mine\.yaml is there already, and stays as it is: say path="):
        backproof.certify_training(model, MSE, sgd(model), batches(), 1)
    assert (tmp_path / "mine.yaml").read_text() == written
    backproof.certify_training(model, MSE, sgd(model), batches(), 1, path="mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() != written
