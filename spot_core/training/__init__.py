"""Training on pairs: `launch` runs a `TrainingJob` in ranks; `trainer` is what each of them does."""
