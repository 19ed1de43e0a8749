"""Ways in which an endpoint fails a client, each by name, and a rule that mixes them in."""

import asyncio
import gzip
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Sent = tuple[web.StreamResponse, bool]
"""A response that was sent, and whether it is a whole answer that left before the client went away."""
Answer = Callable[[web.Request, Body], Awaitable[Sent]]
"""Answers a request, given what a proper answer would be."""

HANG_SECONDS = 30.0
HUGE_BYTES = 40 * 2**20  # over the client's limit
_TRICKLE_SECONDS = 0.05  # between two bytes
_CHUNK = 2**20


def mixed(share: float, names: Sequence[str], *, seed: int = 0) -> Callable[[Body, int], str | None]:
    """A rule for `FakeOpenAI.fault`: at ``share`` of the calls one of ``names``, the same ones for the same seed.

    A request that comes again is drawn again.
    """

    def fault(body: Body, before: int) -> str | None:
        rng = Random(f"{seed} {before} {request_hash(body)}")
        return rng.choice(names) if rng.random() < share else None

    return fault


def request_hash(body: Body) -> str:
    """16 hex digits that tell one request from another."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


async def send(
    request: web.Request,
    data: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Sent:
    """Sends an answer at once."""
    response = web.Response(body=data, status=status, content_type=content_type, headers=headers)
    await response.prepare(request)
    await response.write_eof()
    whole = status == 200 and request.transport is not None and not request.transport.is_closing()
    return response, whole


async def send_json(request: web.Request, answer: object, **options: Any) -> Sent:
    return await send(request, json.dumps(answer).encode(), **options)


async def send_pieces(request: web.Request, answer: Body, *, words: int = 1) -> Sent:
    """The events of a streamed chat completion: role, so many words each, finish reason, usage, end."""
    chunk = {key: answer[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    events = []
    for choice in answer["choices"]:
        message = choice["message"]
        deltas = [{"role": "assistant", "content": ""}, {"refusal": message.get("refusal")}]
        said = re.findall(r"\S+\s*|^\s+", message["content"] or "")
        deltas += [{"content": "".join(said[n : n + words])} for n in range(0, len(said), words)]
        parts = [{"delta": delta, "finish_reason": None} for delta in deltas]
        parts.append({"delta": {}, "finish_reason": choice["finish_reason"]})
        events += [chunk | {"choices": [{"index": choice["index"], **part}]} for part in parts]
    events.append(chunk | {"choices": [], "usage": answer["usage"]})
    lines = [*(json.dumps(event) for event in events), "[DONE]"]
    data = "".join(f"data: {line}\n\n" for line in lines).encode()
    return await send(request, data, content_type="text/event-stream")


async def _too_many(request: web.Request, answer: Body) -> Sent:
    error = {"error": {"message": "slow down"}}
    return await send_json(request, error, status=429, headers={"Retry-After": "0.3"})


async def _error(request: web.Request, answer: Body) -> Sent:
    return await send_json(
        request, {"error": {"message": "oh no"}}, status=500, headers={"retry-after-ms": "20"}
    )


def _refused(status: int) -> Answer:
    async def refuse(request: web.Request, answer: Body) -> Sent:
        key = request.headers.get("Authorization")
        return await send_json(request, {"error": {"message": f"bad request with {key}"}}, status=status)

    return refuse


async def _cut(request: web.Request, answer: Body) -> Sent:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "5000"})
    await response.prepare(request)
    await response.write(b'{"id": "cmpl-1", "choi')
    return _gone(request, response)


async def _dropped(request: web.Request, answer: Body) -> Sent:
    return _gone(request, web.Response())


def _gone(request: web.Request, response: web.StreamResponse) -> Sent:
    if request.transport is not None:
        request.transport.close()
    return response, False


async def _hang(request: web.Request, answer: Body) -> Sent:
    await asyncio.sleep(HANG_SECONDS)
    return _gone(request, web.Response())


async def _trickle(request: web.Request, answer: Body) -> Sent:
    data = json.dumps(answer).encode()
    response = web.StreamResponse(headers={"Content-Length": str(len(data))})
    await response.prepare(request)
    for byte in data:
        await response.write(bytes([byte]))
        await asyncio.sleep(_TRICKLE_SECONDS)
    return response, True


async def _half_json(request: web.Request, answer: Body) -> Sent:
    return (await send(request, json.dumps(answer).encode()[:-20]))[0], False


async def _page(request: web.Request, answer: Body) -> Sent:
    return (await send(request, b"<html>Please log in</html>", content_type="text/html"))[0], False


async def _error_answer(request: web.Request, answer: Body) -> Sent:
    return (await send_json(request, {"error": {"message": "upstream is busy"}}))[0], False


async def _half_stream(request: web.Request, answer: Body) -> Sent:
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": answer["model"]}
    event = chunk | {"choices": [{"index": 0, "delta": {"content": "So"}, "finish_reason": None}]}
    return (await send(request, f"data: {json.dumps(event)}\n\n".encode(), content_type="text/event-stream"))[
        0
    ], False


async def _huge(request: web.Request, answer: Body) -> Sent:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"choices": [{"message": {"content": "')
    for _ in range(HUGE_BYTES // _CHUNK):
        await response.write(b"a" * _CHUNK)
    await response.write(b'"}}]}')
    return response, False


async def _bomb(request: web.Request, answer: Body) -> Sent:
    data = gzip.compress(b" " * HUGE_BYTES + b"{}", compresslevel=1)
    response = web.Response(body=data, headers={"Content-Encoding": "gzip"})
    await response.prepare(request)
    await response.write_eof()
    return response, False


FAULTS: dict[str, Answer] = {
    "429": _too_many,
    "500": _error,
    **{str(status): _refused(status) for status in (400, 401, 402, 403, 404, 413, 422)},
    "cut": _cut,
    "dropped": _dropped,
    "hang": _hang,
    "trickle": _trickle,
    "half JSON": _half_json,
    "a page": _page,
    "no choices": _error_answer,
    "half a stream": _half_stream,
    "huge": _huge,
    "bomb": _bomb,
}
"""What is no whole answer: a client asks again, or gives up."""


def _no_ids(answer: Body) -> Body:
    return answer | {
        "choices": [
            {name: value for name, value in choice.items() if name != "token_ids"}
            for choice in answer["choices"]
        ]
    }


def _said(content: str | None, **message: Any) -> Callable[[Body], Body]:
    def changed(answer: Body) -> Body:
        choice = answer["choices"][0]
        return answer | {
            "choices": [choice | {"message": {"role": "assistant", "content": content, **message}}]
        }

    return changed


def _rewritten(rewrite: Callable[[str], str]) -> Callable[[Body], Body]:
    return lambda answer: _said(rewrite(answer["choices"][0]["message"]["content"]))(answer)


BAD_ANSWERS: dict[str, Callable[[Body], Body]] = {
    "no ids": _no_ids,
    "empty choices": lambda answer: answer | {"choices": []},
    "refusal": _said(None, refusal="I cannot help with that"),
    "twice": _rewritten(lambda text: f"{text}\n{text}"),
    "second half": _rewritten(lambda text: text[len(text) // 2 :]),
    "wrong answer": _rewritten(lambda text: re.sub(r"\\boxed\{[^{}]*\}", r"\\boxed{-7654321}", text)),
}
"""What is a whole answer, paid for, and no use: a change of the proper one."""
