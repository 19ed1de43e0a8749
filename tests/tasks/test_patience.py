"""What mends itself is tried again; what needs a person fails at once."""

import errno
import logging

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from spot_core.errors import ArtifactError, ConfigError, EngineError, StorageError, StoreAwayError
from tasks import patience
from tasks.patience import mends_itself, patiently

REQUEST = httpx.Request("POST", "http://127.0.0.1:4200/api/artifacts/")


def answer(status: int) -> PrefectHTTPStatusError:
    return PrefectHTTPStatusError("x", request=REQUEST, response=httpx.Response(status, request=REQUEST))


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        answer(500),
        answer(503),
        OSError(errno.ENOSPC, "full"),
        OSError(errno.EROFS, "read-only"),
        StorageError("the same, as stages say it"),
        StoreAwayError("a bucket that does not answer"),
    ],
    ids=repr,
)
def test_an_absence_mends_itself(error: Exception):
    assert mends_itself(error)


@pytest.mark.parametrize(
    "error",
    [
        answer(404),
        answer(422),
        FileNotFoundError(errno.ENOENT, "gone"),
        PermissionError(errno.EACCES, "denied"),
        ConfigError("wrong"),
        EngineError("died"),
        ArtifactError("damaged"),
        ValueError("x"),
        None,
    ],
    ids=repr,
)
def test_what_a_person_has_to_look_at_does_not(error: Exception | None):
    assert not mends_itself(error)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, which takes no time here."""
    waits: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    monkeypatch.setattr(patience, "get_run_logger", lambda: logging.getLogger(__name__))
    return waits


def test_a_call_is_made_again_until_the_store_can_be_written(waits: list[float]):
    troubles = [OSError(errno.EROFS, "read-only"), OSError(errno.ENOSPC, "full")]

    def call(what: str) -> str:
        if troubles:
            raise troubles.pop()
        return what

    assert patiently(call, "done") == "done"
    assert len(waits) == 2


@pytest.mark.parametrize(("error", "times"), [(OSError(errno.ENOSPC, "full"), 6), (ConfigError("wrong"), 0)])
def test_what_does_not_mend_is_raised(waits: list[float], error: Exception, times: int):
    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        patiently(call)
    assert len(waits) == times
