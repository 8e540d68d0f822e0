"""A real headless Chromium, driven by the Chrome DevTools protocol.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WAIT_S = 60.0


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
    """One page of a browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._sent = 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=_WAIT_S))
            if answer.get("id") == self._sent:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(told["exceptionDetails"])[:2000])
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
            case _:
                pass

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        done = self.send(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def wait(self, script: str, told: Callable[[], object] = str) -> Any:
        """Return an expression's value as soon as it is true."""
        end = time.monotonic() + _WAIT_S
        while time.monotonic() < end:
            if value := self.run(f"(({script}) || null)"):
                return value
            time.sleep(0.1)
        raise AssertionError(f"never true: {script}\n{self.text()}\n{self.errors}\n{told()}")

    def text(self) -> str:
        return str(self.run("document.body.innerText"))

    def give(self, selector: str, *files: Path) -> None:
        """Choose files in a file field."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        field = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=field, files=[str(file) for file in files])

    def press(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def resize(self, width: int, height: int = 900) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def prefer(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)


@contextmanager
def open_browser(folder: Path, camera: Path | None = None) -> Iterator[Browser]:
    """Yield a page of a new browser, whose camera shows a Motion JPEG file again and again."""
    command = find_browser()
    assert command is not None
    fake = [] if camera is None else [f"--use-file-for-fake-video-capture={camera}"]
    process = subprocess.Popen(
        [
            *(command, "--headless", "--no-sandbox", "--disable-gpu", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
            *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", *fake),
            *("--remote-debugging-port=0", "--hide-scrollbars", f"--user-data-dir={folder}"),
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    try:
        with connect(_page_address(folder), max_size=None, proxy=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait()


def _page_address(folder: Path) -> str:
    told = folder / "DevToolsActivePort"
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        if told.exists() and (lines := told.read_text().splitlines()):
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json") as answer:
                pages = json.load(answer)
            if page := next((page for page in pages if page["type"] == "page"), None):
                return str(page["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise AssertionError("the browser does not come up")
