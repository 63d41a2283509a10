"""Known mistakes, a family a file: each says what went wrong, and computes what that gives."""
