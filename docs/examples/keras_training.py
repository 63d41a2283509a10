"""Records Keras' `train_on_batch`, on torch and on JAX: its updates, and on JAX the layers' values as well."""

from contextlib import contextmanager

import keras
from keras import ops

import backproof


@contextmanager
def record_keras(model):
    """Record each update of a compiled model; layers of the case have the names of the model's."""
    optimizer, weights = model.optimizer, model.trainable_variables
    optimizer.build(weights)
    paths = [".".join(weight.path.split("/")[-2:]) for weight in weights]
    states = {"momentums": "first_moment", "velocities": "second_moment"}

    def state_of(values):
        place = {id(variable): k for k, variable in enumerate(optimizer.variables)}
        slots = {name: getattr(optimizer, f"_{slot}", []) for slot, name in states.items()}
        return {
            name: {p: values[place[id(v)]] for p, v in zip(paths, slot, strict=False)} for name, slot in slots.items()
        }

    def plain(values):
        return [ops.convert_to_numpy(value).copy() for value in values]

    def stateless_apply(memory, gradients, values):  # what the program that JAX compiles calls
        after, later = inner(memory, gradients, values)
        trees = [dict(zip(paths, arrays, strict=True)) for arrays in (values, gradients, after)]
        run.step(*trees, state_before=state_of(memory), state_after=state_of(later))
        return after, later

    def apply(gradients, variables=None):  # what a step on torch calls
        before, memory = plain(weights), state_of(plain(optimizer.variables))
        inner(gradients, variables)
        trees = [dict(zip(paths, arrays, strict=True)) for arrays in (before, plain(gradients), plain(weights))]
        run.step(*trees, state_before=memory, state_after=state_of(plain(optimizer.variables)))

    own = stateless_apply if keras.backend.backend() == "jax" else apply
    inner, calls = getattr(optimizer, own.__name__), {layer: layer.call for layer in model.layers}
    with backproof.record_jax() as run:
        setattr(optimizer, own.__name__, own)
        for layer, call in calls.items() if own is stateless_apply else ():
            layer.call = lambda *a, _n=layer.name, _f=call, **k: backproof.tap(_n, _f(*a, **k))
        try:
            yield run
        finally:
            setattr(optimizer, own.__name__, inner)
            for layer, call in calls.items():
                layer.call = call
