"""Filter and rectify through a Ray cluster of two workers, beside the same on one machine."""
