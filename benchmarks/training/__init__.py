"""Training measured beside TRL's `DPOTrainer`: ``python -m benchmarks.training``."""
