"""A server that speaks the OpenAI protocol, answers by a rule, and misbehaves where it is told to.

In a test it runs in a thread (`FakeOpenAI`). As a program it stands in for vLLM, which dies where it is told to, or for
an Oracle's endpoint: ``python -m tests.spot_core.inference.fake_openai --help``.
"""

import argparse
import asyncio
import importlib
import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from tests.spot_core.inference.misbehaviour import (
    BAD_ANSWERS,
    FAULTS,
    Body,
    Sent,
    mixed,
    request_hash,
    send_json,
    send_pieces,
)

Completion = tuple[str, list[int], str]  # text, token ids, finish reason

LAST_WORDS = "CUDA error: out of memory (the engine dies here)"
_BACKLOG = 1024  # connections that wait to be accepted
_MOST_BODY = 64 * 2**20  # bytes of a request


def by_seed(body: Body) -> Completion:
    """A completion that tells one request from another: its text and ids name the seed and the prompt."""
    return f"seed {body['seed']}", [*body["prompt"], body["seed"] % 1000], "stop"


class FakeOpenAI:
    """``/v1/models``, ``/v1/completions`` (with token ids) and ``/v1/chat/completions`` on a loopback port.

    All requests are served by one event loop, so that hundreds of connections cost little.

    Args:
        port: 0 for a free one.
        model: the name of the model that it serves.
        log: file to which a line of JSON is appended when a request is done with: ``came`` and ``ended`` (seconds
            since 1970), ``key`` (of idempotency) or null, ``hash`` of its body, ``model``, ``seed`` or null, ``before``
            (how often the same body came before), ``fault`` or null, ``answered`` (a whole answer was sent).

    Attributes:
        complete: what a completion request gets.
        chat: the text that a chat request gets.
        fault: given the request and how often it was asked before, names a way to misbehave, or None.
        usage: what the answer to a chat request says that it took.
        seconds: how long an answer takes.
        words: in each piece of a streamed answer.
        asked: every completion or chat request that came in, in order.
        answered: those of them that got a proper answer.
    """

    def __init__(self, *, port: int = 0, model: str = "some/model", log: Path | None = None) -> None:
        self.complete: Callable[[Body], Completion] = by_seed
        self.chat: Callable[[Body], str] = lambda body: "no edit"
        self.fault: Callable[[Body, int], str | None] = lambda body, before: None
        self.usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
        self.seconds = 0.0
        self.words = 1
        self.model = model
        self.asked: list[Body] = []
        self.answered: list[Body] = []
        self.headers: list[Mapping[str, str]] = []  # of each request, in the same order
        self.most_at_once = 0
        self._at_once = 0
        self._times: Counter[str] = Counter()
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._socket = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._closing = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(30), "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        if self._log is not None:
            os.close(self._log)

    def serve(self) -> None:
        """Answers until the context is left, or the process ends."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        app = web.Application(client_max_size=_MOST_BODY)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._answer)
        app.router.add_post("/v1/chat/completions", self._answer)
        # A request ends with its client: else those that hang would outlive it.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, self._socket, backlog=_BACKLOG).start()
        self._ready.set()
        try:
            await self._closing.wait()
        finally:
            await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _models(self, request: web.Request) -> web.Response:
        served = {"id": self.model, "object": "model", "created": 0, "owned_by": "test"}
        return web.json_response({"object": "list", "data": [served]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        note = {
            "came": time.time(),
            "key": request.headers.get("Idempotency-Key"),
            "fault": None,
            "answered": False,
        }
        body = json.loads(await request.read())
        name = request_hash(body)
        before = self._times[name]
        self._times[name] += 1
        note |= {"hash": name, "before": before, "model": body.get("model"), "seed": body.get("seed")}
        self.asked.append(body)
        self.headers.append(request.headers)
        try:
            note["fault"] = await self._at_work(body, before)
            response, note["answered"] = await self._send(request, body, note["fault"])
        except ConnectionError:  # a client that went away is part of the game
            return web.Response()
        finally:
            self._note(note | {"ended": time.time()})
        return response

    async def _at_work(self, body: Body, before: int) -> str | None:
        """Takes the time that an answer takes; the fault that the request meets."""
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self.seconds)
            return self.fault(body, before)
        finally:
            self._at_once -= 1

    async def _send(self, request: web.Request, body: Body, fault: str | None) -> Sent:
        answer = self._chat(body) if "messages" in body else self._completion(body)
        if fault in FAULTS:
            return await FAULTS[fault](request, answer)
        if fault is None:
            self.answered.append(body)
        else:
            answer = BAD_ANSWERS[fault](answer)
        if body.get("stream"):
            return await send_pieces(request, answer, words=self.words)
        return await send_json(request, answer)

    def _note(self, record: dict[str, Any]) -> None:
        if self._log is not None:
            os.write(self._log, json.dumps(record).encode() + b"\n")

    def _completion(self, body: Body) -> Body:
        text, token_ids, finish_reason = self.complete(body)
        choice = {"index": 0, "text": text, "token_ids": token_ids, "finish_reason": finish_reason}
        return {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice | {"logprobs": None}],
            "usage": {"prompt_tokens": 1, "completion_tokens": len(token_ids), "total_tokens": 1},
        }

    def _chat(self, body: Body) -> Body:
        message = {"role": "assistant", "content": self.chat(body)}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": self.usage,
        }


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one; the address is printed")
    parser.add_argument("--log", type=Path, help="file for a line about every request")
    parser.add_argument("--seconds", type=float, default=0.0, help="that an answer takes")
    parser.add_argument("--words", type=int, default=1, help="in each piece of a streamed answer")
    parser.add_argument("--chat", default=None, metavar="MODULE:FUNCTION", help="what chat requests get")
    parser.add_argument("--share", type=float, default=0.0, help="of the calls that meet a fault")
    parser.add_argument("--faults", nargs="*", default=[], choices=[*FAULTS, *BAD_ANSWERS])
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--die-after", type=int, help="answers; below 0: dies while starting")
    options = parser.parse_args()
    print("loading the weights", flush=True)
    if options.die_after is not None and options.die_after < 0:
        sys.exit(LAST_WORDS)
    fake = FakeOpenAI(port=options.port, log=options.log)
    fake.seconds, fake.words = options.seconds, options.words
    fake.fault = mixed(options.share, options.faults, seed=options.seed)
    if options.chat is not None:
        module, _, name = options.chat.partition(":")
        fake.chat = getattr(importlib.import_module(module), name)
    if options.die_after is not None:

        def die(body: Body, before: int) -> None:
            if len(fake.answered) >= options.die_after:
                print(LAST_WORDS, flush=True)
                os._exit(1)

        fake.fault = die
    print(fake.base_url, flush=True)
    fake.serve()


if __name__ == "__main__":
    main()
