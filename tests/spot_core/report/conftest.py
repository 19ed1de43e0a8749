"""Runs of the demo in miniature, and a browser."""

from collections.abc import Iterator

import pytest

from tests.spot_core.pipeline.miniature import configure, fake, trained_fake
from tests.spot_core.report.chromium import PROGRAM, Page, chromium

__all__ = ["configure", "fake", "trained_fake"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab of a real browser."""
    if PROGRAM is None:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page
