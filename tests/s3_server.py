"""A server that speaks S3, on loopback: moto's, with what it lacks of a real one and faults that tests ask for.

Run as `python s3_server.py PORT`.
"""

import io
import sys
import time
from threading import RLock

from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

KEY, SECRET = "spot-test-key", "spot-test-secret"


class S3:
    """Writes one after the other: moto looks at If-None-Match and then writes, as if nobody could come in between."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._writing = RLock()
        self._answers_lost: set[str] = set()

    def __call__(self, environ, start_response):
        path, reads = environ["PATH_INFO"], environ["REQUEST_METHOD"] in ("GET", "HEAD")
        if f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            return _refuse(start_response, "403 Forbidden", "InvalidAccessKeyId", "no such key is known")
        if reads:
            return self._moto(environ, start_response)
        if path.startswith("/failing") and path.endswith(".bin"):
            return _refuse(start_response, "500 Internal Server Error", "InternalError", "try again later")
        if path.startswith("/refusing") and path.endswith(".bin"):
            return _refuse(start_response, "400 Bad Request", "InvalidRequest", "never")
        if path.startswith("/slow") and path.endswith(".bin"):
            time.sleep(0.3)
        # Before it is anybody's turn: a client that is paused while it sends must not keep the others out.
        body, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
        environ["wsgi.input"] = io.BytesIO(
            body.read() if environ.get("wsgi.input_terminated") else body.read(int(length or 0))
        )
        with self._writing:
            if (
                path.startswith("/lossy")
                and "HTTP_IF_NONE_MATCH" in environ
                and path not in self._answers_lost
            ):
                self._answers_lost.add(path)
                list(self._moto(environ, lambda *_: None))
                return _refuse(
                    start_response, "500 Internal Server Error", "InternalError", "the answer is lost"
                )
            if path.startswith("/careless"):
                environ.pop("HTTP_IF_NONE_MATCH", None)
            return list(self._moto(environ, start_response))


def _refuse(start_response, status, code, message):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    server = make_server(
        "127.0.0.1", int(sys.argv[1]), S3(), threaded=True, request_handler=MotoRequestHandler
    )
    server.serve_forever()
