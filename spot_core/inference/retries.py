"""What went wrong with one try of a call, told apart by what mends it, and when the call is tried again."""

import enum
import json
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import httpx2
import openai
import tenacity

from spot_core.inference.limits import AnswerTooLargeError

_SHOWN_CHARACTERS = 300  # of what a server said
_MOST_READ = 20_000  # characters of an error's body that are searched for reasons
_RETRIED = {408, 409, 429}  # and all from 500 on
_REMEDIES = {
    401: "check the API key",
    402: "check the credit of the account",
    403: "check what the API key may do, and the name of the model",
    404: "check base_url and the name of the model",
    405: "check base_url",
}
_NO_KEY = re.compile(r"API_KEY_INVALID|api key not valid", re.IGNORECASE)  # Gemini says 400 to a wrong key
_NO_CREDIT = re.compile(r"insufficient_quota|billing_hard_limit_reached")  # OpenAI says 429
_MODERATION = re.compile(
    r"flagged_input|\bmoderation\b", re.IGNORECASE
)  # OpenRouter says 403 to one such prompt


class Mends(enum.Enum):
    """What could make the call succeed."""

    RETRY = enum.auto()
    ANOTHER_REQUEST = enum.auto()
    """This very request is refused; others may be fine."""
    THE_USER = enum.auto()
    """Every request is refused: key, model, address or credit."""


class TryError(Exception):
    """One try of a call failed.

    Args:
        cause: a short name to count by, such as ``timeout`` or ``HTTP 429``.
        reason: what happened, with what the server said of it. That may hold the key: it is for `told` alone.
        mends: what could make the call succeed.
        remedy: what the user can do.
        wait_seconds: how long the server asks to wait, if it does.
    """

    def __init__(
        self, cause: str, reason: str, mends: Mends, *, remedy: str = "", wait_seconds: float | None = None
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.mends = mends
        self.wait_seconds = wait_seconds
        self._reason = reason
        self._remedy = remedy

    def told(self, hide: Callable[[str], str]) -> str:
        """One printable line; ``hide`` takes secrets out of it before it is cut to a readable length."""
        line = hide(
            " ".join("".join(c if c.isprintable() else " " for c in self._reason[:_MOST_READ]).split())
        )
        if len(line) > _SHOWN_CHARACTERS:
            line = line[: _SHOWN_CHARACTERS - 1] + "…"
        return f"{line} ({self._remedy})" if self._remedy else line


def fault_of(error: openai.APIError | httpx2.HTTPError | aiohttp.ClientError) -> TryError:
    """What an error of the client library, or of the connection below it, means."""
    match error:
        case openai.APIStatusError():
            return refusal(error.status_code, error.response.text, error.response.headers)
        case openai.APIConnectionError():
            return _connection_fault(error)
        case openai.APIError():  # an error event in the middle of a stream
            return error_answer({"error": error.body or error.message})
        case _:
            return _connection_fault(error)


def _connection_fault(error: BaseException) -> TryError:
    causes = list(_causes(error))
    reason = next((str(cause) for cause in causes if str(cause)), type(causes[-1]).__name__)
    for cause in causes:
        match cause:
            case AnswerTooLargeError():
                return TryError("too large", reason, Mends.RETRY)
            case TimeoutError():  # httpx's own time-outs do not tell: aiohttp's broken connections become such, too
                return TryError("timeout", f"no connection in time: {reason}", Mends.RETRY)
    return TryError("connection", f"the connection failed: {reason}", Mends.RETRY)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, unless it is the client library's own wrapping, and what it was raised from."""
    while error is not None:
        if not (isinstance(error, openai.APIConnectionError) and error.__cause__ is not None):
            yield error
        error = error.__cause__


def refusal(status: int, body: str, headers: httpx2.Headers | None = None) -> TryError:
    """The fault that an error status stands for, whether it came as HTTP status or inside of an answer."""
    cause = f"HTTP {status}"
    body = body[:_MOST_READ]
    reason = f"{cause}: {_message(body) or 'without a reason'}"
    if _NO_KEY.search(body):
        return TryError(cause, reason, Mends.THE_USER, remedy=_REMEDIES[401])
    if _NO_CREDIT.search(body):
        return TryError(cause, reason, Mends.THE_USER, remedy=_REMEDIES[402])
    if status in _RETRIED or status >= 500:
        wait = _retry_after(headers or httpx2.Headers(), body)
        return TryError(cause, reason, Mends.RETRY, wait_seconds=wait)
    if status in _REMEDIES and not (status == 403 and _MODERATION.search(body)):
        return TryError(cause, reason, Mends.THE_USER, remedy=_REMEDIES[status])
    return TryError(cause, reason, Mends.ANOTHER_REQUEST)


def error_answer(answer: dict[str, Any]) -> TryError:
    """The fault of an answer with the status of a success that holds an ``error`` (OpenRouter's way)."""
    error = answer["error"]
    code = error.get("code") if isinstance(error, dict) else None
    body = json.dumps(answer)
    if isinstance(code, int) and 400 <= code < 600:
        return refusal(code, body)
    return TryError("error answer", f"the answer is an error: {_message(body)}", Mends.RETRY)


def no_object(content: bytes) -> TryError:
    """The fault of an answer that is no JSON object: a proxy's page, or a body that was cut."""
    text = content[:_MOST_READ].decode(errors="replace")
    return TryError("no JSON", f"the answer is no JSON object: {text}", Mends.RETRY)


def _message(body: str) -> str:
    """The message of an error body if it has one, else the body."""
    messages = (part.get("message") for part in _dicts(_parsed(body)))
    return next((message for message in messages if isinstance(message, str) and message), body)


def _retry_after(headers: httpx2.Headers, body: str) -> float | None:
    """Seconds that the server asks to wait: ``retry-after-ms``, ``Retry-After``, or Gemini's ``retryDelay``."""
    waits = [
        _seconds(headers.get("retry-after-ms"), scale=1e-3),
        _seconds(headers.get("retry-after")),
        _seconds_until(headers.get("retry-after")),
    ]
    delays = [part["retryDelay"] for part in _dicts(_parsed(body)) if isinstance(part.get("retryDelay"), str)]
    waits += [_seconds(delay.removesuffix("s")) for delay in delays]
    return next((wait for wait in waits if wait is not None), None)


def _seconds(text: str | None, *, scale: float = 1.0) -> float | None:
    try:
        seconds = float(text or "") * scale
    except ValueError:
        return None
    return None if math.isnan(seconds) else max(seconds, 0.0)


def _seconds_until(date: str | None) -> float | None:
    try:
        return max(parsedate_to_datetime(date or "").timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None


def _parsed(body: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    """The objects in a parsed body, outermost first. An explicit queue: the nesting is the server's choice."""
    queue = [value]
    for part in queue:
        if isinstance(part, dict):
            yield part
            queue.extend(part.values())
        elif isinstance(part, list):
            queue.extend(part)


FIRST_WAIT_SECONDS = 0.5
"""Before the first retry, at most; doubled for each further one."""
LONGEST_WAIT_SECONDS = 60.0
"""Before any retry, unless the server asks for more."""


def retrying(
    *,
    max_retries: int,
    max_wait_seconds: float,
    sleep: Callable[[float], Awaitable[None]],
    on_retry: Callable[[TryError], None],
) -> tenacity.AsyncRetrying:
    """Calls a coroutine function up to ``1 + max_retries`` times; what it raises last is raised.

    It can be shared by all calls: nothing in it but the sleep awaits anything, so that calls cannot meet inside of it.

    Args:
        max_retries: further tries after a fault that another try may mend.
        max_wait_seconds: a server that asks for a longer wait is not tried again.
        sleep: waits before a further try.
        on_retry: told of each fault that is followed by a further try.
    """
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, TryError) and error.mends is Mends.RETRY
        ),
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(1 + max_retries),
            lambda state: (_fault(state).wait_seconds or 0.0) > max_wait_seconds,
        ),
        wait=_Wait(tenacity.wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS)),
        sleep=sleep,
        before_sleep=lambda state: on_retry(_fault(state)),
        reraise=True,
    )


class _Wait(tenacity.wait.wait_base):
    """As long as the server asks for and a little more, so that not all come back at once; else the back-off."""

    def __init__(self, back_off: tenacity.wait.wait_base) -> None:
        self._back_off = back_off

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        asked = _fault(retry_state).wait_seconds
        return self._back_off(retry_state) if asked is None else asked + random.uniform(0, FIRST_WAIT_SECONDS)


def _fault(state: tenacity.RetryCallState) -> TryError:
    assert state.outcome is not None
    fault = state.outcome.exception()
    assert isinstance(fault, TryError)
    return fault
