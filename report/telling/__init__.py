"""Judgements → Markdown, JSON and figures."""
