"""Prompt templates of the Oracles that ask a model (`string.Template`: `$question`, `$response`, …)."""
