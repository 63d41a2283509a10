"""Stand-in until the room of numbers is merged."""


def contract(subscripts, a, b):
    forms = {
        "i,io->o": lambda: a @ b,
        "o,io->i": lambda: a @ b.mT,
        "ni,no->io": lambda: a.mT @ b,
    }
    return forms[subscripts]()
