"""A server that speaks the OpenAI protocol, answers by a rule, and misbehaves where it is told to.

In a test it runs in a thread (`FakeOpenAI`); as a program it stands in for vLLM, and dies where it is told to:
``python fake_openai.py --port 8000 --asked asked.jsonl --die-after 5``.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Body = dict[str, Any]
Completion = tuple[str, list[int], str]  # text, token ids, finish reason

HANG_SECONDS = 30.0
LAST_WORDS = "CUDA error: out of memory (the engine dies here)"


def by_seed(body: Body) -> Completion:
    """A completion that tells one request from another: its text and ids name the seed and the prompt."""
    return f"seed {body['seed']}", [*body["prompt"], body["seed"] % 1000], "stop"


class FakeOpenAI:
    """``/v1/models``, ``/v1/completions`` (with token ids) and ``/v1/chat/completions`` on a free loopback port.

    Attributes:
        complete: what a completion request gets.
        chat: the text that a chat request gets.
        fault: given the request and how often it was asked before, names a way to misbehave, or None.
        seconds: how long an answer takes.
        asked: every completion or chat request that came in, in order.
        answered: those of them that got a proper answer.
    """

    def __init__(self, *, port: int = 0, model: str = "some/model") -> None:
        self.complete: Callable[[Body], Completion] = by_seed
        self.chat: Callable[[Body], str] = lambda body: "no edit"
        self.fault: Callable[[Body, int], str | None] = lambda body, before: None
        self.seconds = 0.0
        self.model = model
        self.asked: list[Body] = []
        self.answered: list[Body] = []
        self.headers: list[Message] = []  # of each of them, in the same order
        self.most_at_once = 0
        self._at_once = 0
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.fake = self
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "FakeOpenAI":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self) -> None:
        """Answers until the process ends."""
        self._server.serve_forever()

    @contextmanager
    def at_work(self, body: Body, headers: Message) -> Iterator[int]:
        """Counts a request; gives how often the same one came before."""
        name = json.dumps(body, sort_keys=True)
        with self._lock:
            before = self._times[name]
            self._times[name] += 1
            self.asked.append(body)
            self.headers.append(headers)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield before
        finally:
            with self._lock:
                self._at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    fake: FakeOpenAI

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for headers and body: two wait 40 ms for each other
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            served = {"id": self.server.fake.model, "object": "model", "created": 0, "owned_by": "test"}
            self._send({"object": "list", "data": [served]})
        else:
            self._send({"status": "ok"}, status=200 if self.path == "/health" else 404)

    def do_POST(self) -> None:
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with fake.at_work(body, self.headers) as before:
            time.sleep(fake.seconds)
            fault = fake.fault(body, before)
        answer = self._chat(body) if self.path.endswith("/chat/completions") else self._completion(body)
        match fault:
            case None:
                fake.answered.append(body)
                self._send(answer)
            case "429":
                self._send({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0.3"})
            case "500":
                self._send({"error": {"message": "oh no"}}, status=500, headers={"retry-after-ms": "20"})
            case "400":
                key = self.headers.get("Authorization")
                self._send({"error": {"message": f"bad request with {key}"}}, status=400)
            case "cut":
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "5000")
                self.end_headers()
                self.wfile.write(b'{"id": "cmpl-1", "choi')
                self.close_connection = True
            case "hang":
                fake.closing.wait(HANG_SECONDS)
                self.close_connection = True
            case "half JSON":
                self._send_bytes(json.dumps(answer).encode()[:-20], "application/json")
            case "a page":
                self._send_bytes(b"<html>Please log in</html>", "text/html")
            case "no ids":
                del answer["choices"][0]["token_ids"]
                self._send(answer)
            case "no choices":
                self._send({"error": {"message": "upstream is busy"}})
            case _:
                raise AssertionError(f"no such fault: {fault}")

    def _completion(self, body: Body) -> Body:
        text, token_ids, finish_reason = self.server.fake.complete(body)
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
        message = {"role": "assistant", "content": self.server.fake.chat(body)}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        }

    def _send(self, answer: Body, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send_bytes(json.dumps(answer).encode(), "application/json", status=status, headers=headers)

    def _send_bytes(
        self, data: bytes, content_type: str, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def main() -> None:
    """The program: a stand-in for vLLM that notes what it is asked, and dies after so many answers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--asked", type=Path, required=True)
    parser.add_argument("--die-after", type=int, required=True, help="answers; below 0: dies while starting")
    options = parser.parse_args()
    print("loading the weights", flush=True)
    if options.die_after < 0:
        sys.exit(LAST_WORDS)
    lock = threading.Lock()
    count = 0

    def note_or_die(body: Body, before: int) -> None:
        nonlocal count
        with lock:
            with options.asked.open("a") as asked:
                asked.write(json.dumps({"seed": body["seed"], "model": body["model"]}) + "\n")
            if count >= options.die_after:
                print(LAST_WORDS, flush=True)
                os._exit(1)
            count += 1

    fake = FakeOpenAI(port=options.port)
    fake.fault = note_or_die
    fake.serve()


if __name__ == "__main__":
    main()
