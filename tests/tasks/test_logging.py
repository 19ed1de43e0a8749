"""What the stages say reaches the run."""

import logging

import tasks


def test_lines_that_inform_are_not_dropped_on_the_way_to_prefect() -> None:
    assert tasks.__doc__
    assert logging.getLogger("spot_core.processes.supervised").isEnabledFor(logging.INFO)
    assert not logging.getLogger("spot_core").isEnabledFor(logging.DEBUG)
