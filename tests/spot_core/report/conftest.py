"""Runs of the demo in miniature."""

from tests.spot_core.pipeline.miniature import configure, fake, trained_fake

__all__ = ["configure", "fake", "trained_fake"]
