"""Oracles: who makes the minimal edit of a failed response."""
