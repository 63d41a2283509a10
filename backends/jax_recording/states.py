"""How optax names what an optimizer remembers."""

STATE = {
    "velocity": "trace",
    "first_moment": "mu",
    "second_moment": "nu",
    "infinity_norm": "nu",
    "mean_square": "nu",
    "mean_gradient": "mu",
    "accumulator": "sum_of_squares",
}
STATE_OF_ADADELTA = {"mean_square": "e_g", "mean_square_update": "e_x"}


def names_of(kind: str) -> dict[str, str]:
    """Return optax' name of each state of a kind of optimizer, by the format's."""
    return STATE_OF_ADADELTA if kind == "adadelta" else STATE
