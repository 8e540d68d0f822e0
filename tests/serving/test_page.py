"""The page, seen by a real headless Chromium that is driven by the Chrome DevTools protocol.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient
from websockets.sync.client import ClientConnection, connect

from mien.analysis.analyzer import Analyzer
from mien.serving.app import create_app
from mien.serving.server import address_of, bind
from mien.serving.settings import ServiceSettings

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


@pytest.fixture(scope="module")
def address(analyzer: Analyzer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the page, on a port of this machine."""
    settings = ServiceSettings(page=True, threads=1, max_picture_bytes=200_000)
    app = create_app(settings, analyzer=analyzer)
    with bind("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield address_of(listener)
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def media(
    tmp_path_factory: pytest.TempPathFactory,
    write_clip: Callable[..., Path],
    photo: bytes,
    nobody: bytes,
) -> Path:
    """A folder with a photo, a picture of nobody, two broken ones, a clip and a camera's film."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "photo.jpg").write_bytes(photo)
    (folder / "nobody.jpg").write_bytes(nobody)
    for name in ("broken.jpg", "broken.png"):
        (folder / name).write_bytes(b"no picture")
    write_clip(folder / "clip.mp4", photo)
    write_clip(folder / "camera.mjpeg", photo, codec="mjpeg")
    return folder


@pytest.fixture(scope="module")
def loaded(
    address: str, media: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """The page, loaded once for all tests."""
    if find_browser() is None:
        pytest.skip("there is no Chromium or Chrome on this machine")
    profile = tmp_path_factory.mktemp("profile")
    with open_browser(profile, media / "camera.mjpeg") as browser:
        browser.resize(1280)
        browser.open(f"{address}/page/")
        browser.wait("document.querySelector('#m-model')?.textContent")
        yield browser


@pytest.fixture
def page(loaded: Browser) -> Iterator[Browser]:
    """The page, without the results of the test before."""
    yield loaded
    loaded.run("document.querySelectorAll('.m-top .m-row :last-child').forEach(b => b.click())")
    loaded.run("document.querySelector('#m-status').textContent = ''")


def said(page: Browser, text: str) -> str:
    """Return what the page tells screen readers, as soon as a text is in it."""
    return str(
        page.wait(
            f"document.querySelector('#m-status').textContent.includes({json.dumps(text)}) && "
            "document.querySelector('#m-status').textContent"
        )
    )


def test_a_photo(page: Browser, media: Path) -> None:
    page.give("#m-files", media / "photo.jpg")

    assert said(page, "photo.jpg: face") == "photo.jpg: face 1 looks sad, 77 %."
    assert "sad, 77 %" in page.text()
    assert page.run("document.querySelectorAll('.m-bars li').length") == 7
    assert page.wait("document.querySelectorAll('.m-stage .m-box').length") == 2
    assert "looks sad" in page.run("document.querySelector('.m-stage img').alt")
    page.run("[...document.querySelectorAll('.m-face button')][0].click()")
    assert page.wait("document.querySelector('.m-why canvas')?.getAttribute('aria-label')")


def test_the_table_of_a_photo_is_downloaded(page: Browser, media: Path, tmp_path: Path) -> None:
    page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.give("#m-files", media / "photo.jpg")
    said(page, "photo.jpg: face")
    for label, name in (("Table", "photo.csv"), ("Picture", "photo-faces.jpg")):
        page.run(
            f"[...document.querySelectorAll('.m-top button')].find(b => b.innerText == '{label}')"
            ".click()"
        )
        end = time.monotonic() + 20
        while not (tmp_path / name).exists():
            assert time.monotonic() < end, list(tmp_path.iterdir())
            time.sleep(0.05)
    head, row = (tmp_path / "photo.csv").read_text().splitlines()
    assert head.startswith(
        "source,width,height,face,expression,confidence,left,top,right,bottom,score,angry,disgust"
    )
    assert row.startswith("photo.jpg,240,240,0,sad,0.7")
    assert (tmp_path / "photo-faces.jpg").read_bytes().startswith(b"\xff\xd8")


def test_a_picture_of_nobody_and_a_broken_one(page: Browser, media: Path) -> None:
    page.give("#m-files", media / "nobody.jpg", media / "broken.jpg")
    page.wait("document.querySelector('#m-alert').textContent.startsWith('broken.jpg: ')")
    assert "No face found." in page.text()
    assert page.run("document.querySelector('#m-alert').getAttribute('role')") == "alert"


def test_each_file_that_cannot_be_read_is_told_of(page: Browser, media: Path) -> None:
    page.give("#m-files", media / "broken.jpg", media / "photo.jpg", media / "broken.png")
    page.wait("document.querySelector('#m-alert').textContent.split('\\n').length == 2")

    told = page.run("document.querySelector('#m-alert').textContent").splitlines()
    assert [line.partition(": ")[0] for line in told] == ["broken.jpg", "broken.png"]
    assert said(page, "photo.jpg: face"), "what was read is still told"
    top, bottom = page.run(
        "(({top, bottom}) => [top, bottom])"
        "(document.querySelector('#m-alert').getBoundingClientRect())"
    )
    assert 0 <= top < bottom <= page.run("window.innerHeight"), "in sight"


def test_a_clip_outlives_an_answer_that_is_lost(page: Browser, media: Path) -> None:
    page.run(
        "window.reached = window.fetch; window.lost = 0; window.fetch = (url, options) => "
        "/v1.video.[^/]+$/.test(url) && window.lost++ < 2 ? Promise.reject(new TypeError('lost')) "
        ": window.reached(url, options)"
    )
    page.give("#m-files", media / "clip.mp4")

    said(page, "clip.mp4: read, ")
    assert page.run("window.lost") > 2


def test_a_clip(page: Browser, media: Path, address: str) -> None:
    page.give("#m-files", media / "clip.mp4")

    said(page, "clip.mp4: read, ")

    assert page.run("document.querySelector('.m-strip i').title") == "sad, 0:00.0 to 0:00.6"
    people = page.run("document.querySelector('.m-scroll tbody').innerText")
    assert people.split()[:5] == ["1", "0.6", "s", "100", "%"]
    assert page.wait("document.querySelectorAll('.m-stage .m-box').length") >= 2
    jobs = [url for url in page.requests if "/v1/video/" in url]
    page.run("document.querySelector('.m-top .m-row :last-child').click()")
    said(page, "removed")
    job = next(url for url in jobs if url.endswith("/summary")).removesuffix("/summary")
    end = time.monotonic() + 20
    while page.run(f"fetch({json.dumps(job)}).then(a => a.status)") != 404:
        assert time.monotonic() < end, "removed from the page, it is removed from the service"
        time.sleep(0.05)


def test_the_camera(page: Browser) -> None:
    page.run("document.querySelector('#m-camera').click()")

    assert said(page, "Camera: ") == "Camera: face 1 looks sad."
    page.wait("document.querySelectorAll('.m-face').length == 1")

    page.run("document.querySelector('#m-camera').click()")
    said(page, "The camera is off.")
    assert page.run("document.querySelector('#m-camera').innerText") == "Use the camera"


def test_a_camera_that_is_asked_for_twice_is_opened_once(page: Browser) -> None:
    page.run("for (const _ of [1, 2]) document.querySelector('#m-camera').click()")
    said(page, "Camera: ")

    assert page.run("document.querySelectorAll('[data-kind=camera]').length") == 1
    page.run("window.tracks = document.querySelector('video').srcObject.getTracks()")
    page.run("document.querySelector('#m-camera').click()")
    said(page, "The camera is off.")
    assert page.run("window.tracks.map(track => track.readyState)") == ["ended"]


def test_the_keyboard_reaches_all_in_the_order_of_the_page(page: Browser, media: Path) -> None:
    page.give("#m-files", media / "photo.jpg")
    said(page, "photo.jpg: face")
    page.run("document.activeElement.blur(), window.getSelection().removeAllRanges()")
    reached = []
    for _ in range(7):
        page.press("Tab", 9)
        reached.append(
            page.run(
                "((e) => e.labels?.[0]?.innerText ?? e.getAttribute('aria-label') ?? e.innerText)"
                "(document.activeElement)"
            )
        )
    expected = [
        "Choose files",
        "Use the camera",
        "Download the table of photo.jpg, CSV",
        "Download photo.jpg with boxes",
        "Remove",
        "Where did it look in face 1?",
    ]
    at = reached.index(expected[0])
    # It begins anywhere, and between the last and the first is the page itself.
    assert [*reached[at:], *reached[:at]][:-1] == expected


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read(page: Browser, media: Path, scheme: str, width: int) -> None:
    page.prefer(scheme)
    page.resize(width)
    page.give("#m-files", media / "photo.jpg")
    said(page, "photo.jpg: face")
    page.wait(f"document.body.classList.contains('dark') == {json.dumps(scheme == 'dark')}")

    assert page.run("document.documentElement.scrollWidth") <= width
    # WCAG 2.2, 1.4.3: at least 4.5 to 1.
    # Colours that are still on their way from the other scheme's would be measured.
    page.run("document.getAnimations().forEach((animation) => animation.finish())")
    assert page.run(_LEAST_CONTRAST) >= 4.5
    assert page.run("document.querySelectorAll('img:not([alt]), button:empty').length") == 0


#: The least contrast of any text of the page with what is behind it.
_LEAST_CONTRAST = """
(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92
    : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll('.m-page *')].filter((element) =>
    element.checkVisibility() && !element.closest('svg, .m-badge') &&
    [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
  return Math.min(...texts.map((element) => {
    const pair = [parse(getComputedStyle(element).color), behind(element)].map(light);
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  }));
})()
"""


def test_it_asks_nobody_else_and_fails_nowhere(page: Browser, address: str) -> None:
    called = [url for url in page.requests if not url.startswith(("data:", "blob:"))]
    assert len(called) > 10
    assert [url for url in called if not url.startswith(f"{address}/")] == []
    # The broken picture was refused, and the clip that was removed is not there.
    unexpected = [
        error
        for error in page.errors
        if "422" not in error and not ("404" in error and f"{address}/v1/video/" in error)
    ]
    assert unexpected == []


def test_gradios_own_ways_in_are_shut(analyzer: Analyzer) -> None:
    app = create_app(ServiceSettings(page=True, threads=1), analyzer=analyzer)
    with TestClient(app) as client:
        assert client.get("/", follow_redirects=False).headers["location"] == "page/"
        shown = client.get("/page/")
        assert "default-src 'self'" in shown.headers["content-security-policy"]
        for method, path in (
            ("POST", "/page/gradio_api/upload"),
            ("GET", "/page/gradio_api/file=/etc/hostname"),
            ("GET", "/page/gradio_api/proxy=https://example.org"),
            ("POST", "/page/gradio_api/queue/join"),
            ("POST", "/page/gradio_api/vibe-edit"),
            ("GET", "/page/monitoring"),
            ("GET", "/page/assets/../gradio_api/info"),
        ):
            answer = client.request(method, path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"
        assert client.delete("/v1/model").status_code == 405, "the page hides no route"
