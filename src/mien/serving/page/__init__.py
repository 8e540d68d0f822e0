"""The web page: Gradio around the service's own REST, with no other way in and no other limits.

The page is one custom component. Its script sends pictures and clips to ``/v1``, where they meet
the same batcher, limits and key as anybody's; none goes through Gradio's upload folder. What else
Gradio serves, uploads, a proxy and its queue among it, is shut.
"""

import json
import re
from importlib.resources import files
from typing import Any, Final

import gradio as gr
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.analysis.draw import COLOURS, OTHER_COLOUR, UNCERTAIN_COLOUR

PATH: Final = "/page"
_TITLE: Final = "mien: what a face shows"
_SANS: Final = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONO: Final = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
#: What a browser needs of Gradio to show the page; all else is not there.
_OPEN: Final = re.compile(
    r"/|/theme\.css|/config|/(assets|static|svelte)/.*|/gradio_api/(startup-events|app_id)"
)
#: Held by the browser: nothing is loaded from another host, nor sent to one. Gradio compiles its
#: templates in the browser, which is what 'unsafe-eval' is for.
_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "form-action 'none'",
        "base-uri 'self'",
        "frame-ancestors 'none'",
    )
)


def mount_page(app: FastAPI) -> None:
    """Add the page to a service, at ``/page/``, and lead ``/`` to it.

    Args:
        app: The service, all of whose routes are there already.
    """
    gr.mount_gradio_app(
        app,
        _build(),
        PATH,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(),
        css=_read("page.css"),
    )
    mount = app.routes[-1]
    assert isinstance(mount, Mount)
    mount.app = _Gate(mount.app)
    app.add_route("/", _lead_to_page, include_in_schema=False)
    # Browsers ask for these two beside the page.
    app.add_route("/manifest.json", _tell_name, include_in_schema=False)
    app.add_route("/favicon.ico", _show_no_icon, include_in_schema=False)


def _build() -> gr.Blocks:
    facts = {"colours": dict(COLOURS), "uncertain": UNCERTAIN_COLOUR, "other": OTHER_COLOUR}
    blocks: gr.Blocks
    with gr.Blocks(title=_TITLE, analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(
            _read("page.html"),
            js_on_load=f"const facts = {json.dumps(facts)};\n{_read('page.js')}",
            apply_default_css=False,
            elem_id="mien",
        )
    return blocks


def _theme() -> gr.themes.Base:
    """Return Gradio's plainest theme, with the fonts of the system: others would be fetched."""
    return gr.themes.Base(font=_SANS, font_mono=_MONO).set(
        body_background_fill="#f6f3ee",
        body_background_fill_dark="#14161a",
        body_text_color="#1d1b18",
        body_text_color_dark="#ece8e1",
    )


def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")


async def _lead_to_page(_: Any) -> RedirectResponse:
    return RedirectResponse(f"{PATH[1:]}/")


async def _tell_name(_: Any) -> JSONResponse:
    return JSONResponse({"name": "mien", "start_url": f"{PATH}/"})


async def _show_no_icon(_: Any) -> Response:
    return Response(status_code=204)


class _Gate:
    """Lets through what a browser needs to show the page, and nothing that does anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request for a part of the page on.

        Raises:
            HTTPException: It is for something else.
        """
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)
        if not _OPEN.fullmatch(path):
            raise HTTPException(404)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _POLICY
                headers["Permissions-Policy"] = "camera=(self), microphone=(), geolocation=()"
                if path.startswith(("/assets/", "/static/")):
                    headers["Cache-Control"] = "public, max-age=86400"
            await send(message)

        await self._app(scope, receive, send_guarded)
