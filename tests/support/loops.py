"""A small training in PyTorch: its data, its model, its case, and the ordinary loop, right or with a bug."""

from pathlib import Path

import torch
from torch import nn

import backproof

STEPS, SIZE = 9, 8
MSE = nn.MSELoss()


def data(samples: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of three features and targets of two, in float64."""
    random = torch.Generator().manual_seed(3)
    return tuple(torch.randn(samples, width, generator=random, dtype=torch.float64) for width in (3, 2))


def net(*, rate: float = 0) -> nn.Sequential:
    """The same network every time, with a dropout if it has a rate."""
    torch.manual_seed(0)
    dropout = [nn.Dropout(rate)] if rate else []
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), *dropout, nn.Linear(4, 2)).double()


def sgd(model: nn.Module, **settings) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.1, **settings)


def batches(size: int = SIZE) -> list[tuple[torch.Tensor, torch.Tensor]]:
    x, t = data()
    return [(x[at : at + size], t[at : at + size]) for at in range(0, len(x), size)]


def steps():
    """The batches of all steps: three epochs, the last batch of each is short."""
    seen = batches()
    for step in range(STEPS):
        yield seen[step % len(seen)]


def case(path: Path, model: nn.Module | None = None, optimizer=None, **settings) -> Path:
    """The case of the right loop, which is certified."""
    model = model or net()
    torch.manual_seed(1)
    backproof.certify_training(model, MSE, optimizer or sgd(model), batches(), STEPS, path=path, **settings)
    return path


def plain(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for x, t in steps():
        optimizer.zero_grad()
        MSE(model(x), t).backward()
        optimizer.step()


def recorded(loop, model: nn.Module, optimizer, **more):
    """What the hooks record of a loop, whose random numbers are those of the case."""
    torch.manual_seed(1)
    with backproof.record(model, optimizer, loss=MSE, **more) as run:
        loop(model, optimizer)
    return run
