"""Shows Sphinx's roles in docstrings, such as :class:`Face`, as what they name."""

import re
from typing import Any

_ROLE = re.compile(r":(?:class|func|meth|attr|data|mod):<code>~?")


def on_page_content(html: str, **_: Any) -> str:
    """Take the roles' names away; MkDocs calls this for every page's content."""
    return _ROLE.sub("<code>", html)
