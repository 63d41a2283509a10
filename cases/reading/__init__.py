"""Text → Case, every mistake with its file, line and column."""
