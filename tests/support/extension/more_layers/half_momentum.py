"""An optimizer: a velocity that is halved at every step."""

from backproof import Updating


class HalfMomentum(Updating):
    """v <- v / 2 + g; w <- w - learning_rate v. State: `velocity` v."""

    @property
    def starts(self):
        """The velocity, from 0 on."""
        return {"velocity": 0.0}


def rule(optimizer, w, g, t, velocity):
    """The new parameter, and what is remembered of it; any kind of number, and a tensor of any framework."""
    v = velocity / 2 + g
    return w - optimizer.learning_rate * v, (v,)


torch_rule = jax_rule = rule
