"""An optimizer: a velocity that is halved at every step."""

from backproof import Updating


class HalfMomentum(Updating):
    """v <- v / 2 + g; w <- w - learning_rate v. State: `velocity` v."""

    @property
    def starts(self):
        """The velocity, from 0 on."""
        return {"velocity": 0.0}


def step(optimizer, w, g, t, velocity):
    """What is subtracted from w, and what is remembered; of any kind of number, and of tensors of any framework."""
    v = velocity / 2 + g
    return optimizer.learning_rate * v, (v,)


torch_step = jax_step = step
