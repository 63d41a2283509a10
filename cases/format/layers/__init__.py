"""The layers of a network: a class a layer, its docstring the norm; a file a family."""
