"""Our answer checker beside math-verify and the paper's rule: ``python -m benchmarks.checker``."""
