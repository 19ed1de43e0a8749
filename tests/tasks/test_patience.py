"""What mends itself is tried again; what needs a person fails at once."""

import errno

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from spot_core.errors import ConfigError, EngineError
from tasks.patience import mends_itself

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
        ValueError("x"),
        None,
    ],
    ids=repr,
)
def test_what_a_person_has_to_look_at_does_not(error: Exception | None):
    assert not mends_itself(error)
