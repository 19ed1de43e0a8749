"""A headless Chromium, driven through its DevTools protocol, for tests of pages."""

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_STARTUP_SECONDS = 60
CTRL, ALT = 2, 1
_KEYS = {
    "Enter": 13,
    "ArrowDown": 40,
    "ArrowUp": 38,
    "End": 35,
    "Home": 36,
    "Escape": 27,
    "PageDown": 34,
    "PageUp": 33,
}


class Page:
    """One tab. `troubles` are errors, refusals of its Content-Security-Policy, dialogs and requests beside the page's."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._events: list[str] = []
        self.troubles: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method and returns its result; what happens meanwhile is noted."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=60))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message["method"], message["params"]
        self._events.append(method)
        url = parameters.get("request", {}).get("url", "file://")
        if method in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening"):
            self.troubles.append(json.dumps(parameters))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.troubles.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not url.startswith("file://"):
            self.troubles.append(url)

    def open(self, path: Path) -> Self:
        """Loads a file and waits until its scripts have run."""
        self._events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._note(json.loads(self._connection.recv(timeout=60)))
        return self

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives, as JSON."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def texts(self, selector: str) -> list[str]:
        """The text of every element that a selector finds."""
        return self.value(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)")

    def press(self, key: str, held: int = 0) -> None:
        """A key, pressed and let go while `held` (`CTRL` or `ALT`) is down."""
        text = {"text": key} if len(key) == 1 and not held else {"windowsVirtualKeyCode": _KEYS.get(key, 0)}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=held, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=held)

    def fill(self, selector: str, value: str) -> None:
        """A value for a field or a choice, as if a person had given it."""
        self.value(
            f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.value = {json.dumps(value)};"
            "for (const name of ['input', 'change']) field.dispatchEvent(new Event(name, {bubbles: true})); })()"
        )

    def wait_for(self, expression: str) -> None:
        """Returns once an expression is true; fails after ten seconds."""
        deadline = time.monotonic() + 10
        while not self.value(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)

    def screenshot(self, path: Path) -> None:
        """A picture of what can be seen."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A page of a browser whose profile is in `folder`; the browser ends with the block."""
    assert PROGRAM is not None
    command = [
        PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1400,1000",
        f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    browser = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        with connect(_page_url(folder), max_size=None) as connection:
            yield Page(connection)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


def _page_url(folder: Path) -> str:
    """The DevTools address of the browser's first tab; Chromium writes its port into its profile."""
    deadline = time.monotonic() + _STARTUP_SECONDS
    port_file = folder / "DevToolsActivePort"
    while not (port_file.exists() and port_file.read_text().count("\n")):
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.1)
    port = port_file.read_text().split("\n")[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        [page] = [target for target in json.load(answer) if target["type"] == "page"]
    return page["webSocketDebuggerUrl"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab of a real browser."""
    if PROGRAM is None:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page
