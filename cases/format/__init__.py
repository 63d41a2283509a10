"""What a case may say: a class a concept, its docstring the norm."""
