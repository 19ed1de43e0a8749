"""The filter stage on up to a million rows: ``python -m benchmarks.filter_scale``."""
