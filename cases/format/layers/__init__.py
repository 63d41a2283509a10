"""The layers of a network: one class a layer, its docstring the normative meaning; a file a family."""
