"""The optimizers, gradient clipping and schedules: a class each, its docstring the norm."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from backproof.cases.format.added import added
from backproof.cases.format.concept import Concept, Count, Fraction, Positive, Share, Small
from backproof.cases.format.fields import OneOf


class Updating(Concept):
    """An optimizer, of every trained parameter w with gradient g at update t = 1, 2, ...

    State begins at 0 unless something else is said; numbers that depend on t alone are no state.
    """

    remembers: ClassVar[tuple[str, ...]] = ()
    learning_rate: Positive

    @property
    def starts(self) -> dict[str, float]:
        """By name, what it remembers of each parameter, and the number that it starts from."""
        return dict.fromkeys(self.remembers, 0.0)

    @property
    def state(self) -> tuple[str, ...]:
        """The names of what it remembers of each parameter, in order."""
        return tuple(self.starts)


class Decaying(Updating):
    """An optimizer with `weight_decay`: coupled, it takes g + weight_decay w for g.

    Decoupled, it takes w - learning_rate weight_decay w for w, and g as it is.
    """

    weight_decay: Small = 0.0

    @property
    def is_decoupled(self) -> bool:
        """Whether the decay leaves the gradient as it is."""
        return getattr(self, "decoupled", False)


# ---------------------------------------------------------------- gradient descent


class Sgd(Decaying):
    """w <- w - learning_rate g."""


class Momentum(Decaying):
    """v <- momentum v + (1 - dampening) g, but v <- g at t = 1; w <- w - learning_rate v.

    With `nesterov` w <- w - learning_rate (g + momentum v). State: `velocity` v.
    """

    remembers: ClassVar[tuple[str, ...]] = ("velocity",)
    momentum: Annotated[float, Field(gt=0, lt=1)]
    dampening: Share = 0.0
    nesterov: bool = False


class Asgd(Decaying):
    """w <- (1 - lambd h) w - h g; a <- a + (w - a) / n.

    h = learning_rate / (1 + lambd learning_rate (t - 1))^alpha and n = max(1, t - 1 - t0): the
    average of w begins behind the first t0 updates. h and 1 / n are computed in float64 and rounded
    once. State: `average` a.
    """

    remembers: ClassVar[tuple[str, ...]] = ("average",)
    lambd: Small = 1e-4
    alpha: Small = 0.75
    t0: Small = 1e6


class Lion(Decaying):
    """w <- w - learning_rate sign(beta1 m + (1 - beta1) g); m <- beta2 m + (1 - beta2) g.

    sign(0) = 0. Its weight decay is decoupled. State: `first_moment` m.
    """

    remembers: ClassVar[tuple[str, ...]] = ("first_moment",)
    decoupled: ClassVar[bool] = True
    beta1: Share = 0.9
    beta2: Share = 0.99


class Rprop(Updating):
    """d <- min(max(d f, smallest_step), largest_step); g <- 0 where g p < 0.

    Then w <- w - sign(g) d; p <- g. f is `increase` where g p > 0, `decrease` where g p < 0, else
    1; sign(0) = 0. State: `step_size` d, which begins at learning_rate, and `previous_gradient` p.
    """

    decrease: Annotated[float, Field(gt=0, lt=1)] = 0.5
    increase: Annotated[float, Field(gt=1, le=100)] = 1.2
    smallest_step: Positive = 1e-6
    largest_step: Positive = 50.0

    @property
    def starts(self) -> dict[str, float]:
        """By name, what it remembers of each parameter, and the number that it starts from."""
        return {"previous_gradient": 0.0, "step_size": self.learning_rate}


# ---------------------------------------------------------------- a learning rate for every element


class Adagrad(Decaying):
    """s <- s + g^2, from initial_accumulator; w <- w - learning_rate g / (sqrt(s) + epsilon).

    With `epsilon_inside` the root is sqrt(s + epsilon), and 0 where s is 0. State: `accumulator` s.
    """

    initial_accumulator: Small = 0.0
    epsilon: Small = 1e-10
    epsilon_inside: bool = False

    @property
    def starts(self) -> dict[str, float]:
        """By name, what it remembers of each parameter, and the number that it starts from."""
        return {"accumulator": self.initial_accumulator}


class Adadelta(Decaying):
    """s <- rho s + (1 - rho) g^2; d = g sqrt(u + epsilon) / sqrt(s + epsilon).

    Then u <- rho u + (1 - rho) d^2; w <- w - learning_rate d.
    State: `mean_square` s, `mean_square_update` u.
    """

    remembers: ClassVar[tuple[str, ...]] = ("mean_square", "mean_square_update")
    rho: Share = 0.9
    epsilon: Positive = 1e-6


class Rmsprop(Decaying):
    """s <- rho s + (1 - rho) g^2; v <- momentum v + g / (sqrt(s) + epsilon).

    Then w <- w - learning_rate v.
    `centered` takes s - a^2 for s under the root, a <- rho a + (1 - rho) g; with `epsilon_inside`
    the root is sqrt(s + epsilon). s begins at initial_mean_square.
    State: `mean_square` s, and where they are `mean_gradient` a, `velocity` v.
    """

    rho: Share = 0.99
    epsilon: Small = 1e-8
    epsilon_inside: bool = False
    centered: bool = False
    momentum: Share = 0.0
    initial_mean_square: Small = 0.0

    @property
    def starts(self) -> dict[str, float]:
        """By name, what it remembers of each parameter, and the number that it starts from."""
        others = [*["mean_gradient"] * self.centered, *["velocity"] * (self.momentum > 0)]
        return {"mean_square": self.initial_mean_square, **dict.fromkeys(others, 0.0)}


# ---------------------------------------------------------------- Adam


class OfMoments(Decaying):
    """An optimizer of Adam's family, with averages of the gradients and of their squares."""

    remembers: ClassVar[tuple[str, ...]] = ("first_moment", "second_moment")
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Small = 1e-8


class Adam(OfMoments):
    """m <- b m + (1 - b) g, b = beta1 beta1_decay^(t - 1); v <- beta2 v + (1 - beta2) g^2.

    w <- w - learning_rate M / (sqrt(V) + epsilon), M = m / (1 - beta1^t), V = v / (1 - beta2^t).
    `epsilon_hat` adds epsilon before the correction, (sqrt(v) + epsilon) / sqrt(1 - beta2^t).
    `amsgrad` takes the largest v so far for v.
    State: `first_moment` m, `second_moment` v, `largest_second_moment` if there is one.
    """

    epsilon_hat: bool = False
    beta1_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    amsgrad: bool = False

    @property
    def starts(self) -> dict[str, float]:
        """By name, what it remembers of each parameter, and the number that it starts from."""
        return super().starts | ({"largest_second_moment": 0.0} if self.amsgrad else {})


class Adamw(Adam):
    """Adam with decoupled weight decay."""

    decoupled: ClassVar[bool] = True
    weight_decay: Small = 0.01


class Adamax(Decaying):
    """m <- beta1 m + (1 - beta1) g; u <- max(beta2 u, |g| + epsilon).

    w <- w - learning_rate m / ((1 - beta1^t) u). State: `first_moment` m, `infinity_norm` u.
    """

    remembers: ClassVar[tuple[str, ...]] = ("first_moment", "infinity_norm")
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Positive = 1e-8


class Nadam(OfMoments):
    """m, v, V as in Adam; q <- q c(t) from 1, c(t) = beta1 (1 - 0.96^(t momentum_decay) / 2).

    w <- w - learning_rate ((1 - c(t)) g / (1 - q) + c(t + 1) m / (1 - q c(t + 1)))
    / (sqrt(V) + epsilon). c is computed in float64 and rounded once.
    Weight decay is coupled, or with `decoupled` not.
    State: `first_moment` m, `second_moment` v, `momentum_product` q.
    """

    momentum_decay: Small = 4e-3
    decoupled: bool = False

    @property
    def starts(self) -> dict[str, float]:
        """By name, what it remembers of each parameter, and the number that it starts from."""
        return super().starts | {"momentum_product": 1.0}


class Radam(OfMoments):
    """w <- w - learning_rate M r sqrt(1 - beta2^t) / (sqrt(v) + epsilon) where l > 5, else M alone.

    m, v, M as in Adam; L = 2 / (1 - beta2) - 1, l = L - 2 t beta2^t / (1 - beta2^t),
    r^2 = (l - 4) (l - 2) L / ((L - 4) (L - 2) l), and r sqrt(1 - beta2^t) are computed in float64
    and rounded once. Weight decay is coupled, or with `decoupled` not.
    State: `first_moment` m, `second_moment` v.
    """

    decoupled: bool = False


OURS: tuple[type[Updating], ...] = (
    Sgd, Momentum, Asgd, Lion, Rprop, Adagrad, Adadelta, Rmsprop, Adam, Adamw, Adamax, Nadam, Radam,
)  # fmt: skip
ADDED = added("backproof.optimizers", Updating, OURS)
KINDS: dict[str, type[Updating]] = {optimizer.kind: optimizer for optimizer in (*OURS, *ADDED)}
SORT = OneOf("optimizer", "optimizers", "optimizers", (*KINDS.values(),))
Optimizer = Annotated[Updating, SORT]


# ---------------------------------------------------------------- gradient clipping


class Norm(Concept):
    """g <- g min(1, maximum / (|g| + epsilon)), |g| the Euclidean norm of all gradients."""

    maximum: Positive
    epsilon: Small = 0.0


class Value(Concept):
    """g <- max(-maximum, min(g, maximum)), element by element."""

    maximum: Positive


Clip = Annotated[Norm | Value, OneOf("clip", "clips", "gradient-clipping")]


# ---------------------------------------------------------------- schedules


class Schedule(Concept):
    """The learning rate of step k = 0, 1, ... is the optimizer's times a factor.

    It is computed in float64.
    """


class StepDecay(Schedule):
    """Factor^floor(k / every)."""

    every: Count
    factor: Annotated[float, Field(gt=0, le=1)]


class ExponentialDecay(Schedule):
    """Factor^k."""

    factor: Annotated[float, Field(gt=0, le=1)]


class LinearDecay(Schedule):
    """1 + (end - 1) k / steps, and from k = steps on `end`."""

    steps: Count
    end: Fraction = 0.0


class CosineDecay(Schedule):
    """end + (1 - end) (1 + cos(pi k / steps)) / 2, and from k = steps on `end`."""

    steps: Count
    end: Fraction = 0.0


class OneCycle(Schedule):
    """a + (b - a) (1 - cos(pi k / n)) / 2, from start to 1 in `rise` steps, to `end` in `fall`.

    That is from a to b in n steps, k counted from the first of them.
    """

    rise: Count
    fall: Count
    start: Annotated[float, Field(gt=0, le=1)] = 0.04
    end: Annotated[float, Field(gt=0, le=1)] = 4e-6


Decay = StepDecay | ExponentialDecay | LinearDecay | CosineDecay


class WarmUp(Schedule):
    """start + (1 - start) k / steps; from k = steps on 1, or `then` of k - steps."""

    steps: Count
    start: Fraction = 0.0
    then: (
        Annotated[Decay, OneOf("schedule behind warm_up", "schedules behind it", "schedules")]
        | None
    ) = None


AnySchedule = Annotated[
    StepDecay | ExponentialDecay | LinearDecay | CosineDecay | OneCycle | WarmUp,
    OneOf("schedule", "schedules", "schedules"),
]
