"""Lets no page of the site load anything from another host."""

import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

#: What a browser fetches by itself; links that a reader follows are free.
_LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|<link\b(?=[^>]*rel=[\"']?(?:stylesheet|preconnect|preload|icon))[^>]*"
    r"href=[\"']?(?:https?:)?//[^\"'\s>]+"
)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Check a page as it is written.

    Raises:
        PluginError: It loads something from another host.
    """
    if found := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from another host: {found[0]}")
    return output
