"""Brings documents of the repository into the site, and keeps links from leading out of it."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Page of the site → document of the repository.
BROUGHT = {
    "model-card.md": "MODEL_CARD.md",
    "benchmarks.md": "benchmarks/RESULTS.md",
    "changelog.md": "CHANGELOG.md",
}
_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:|#|<)([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents to the site's pages."""
    for page, document in BROUGHT.items():
        text = (ROOT / document).read_text("utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Turn links to what is not in the site into the names of files of the repository."""
    here = page.file.src_uri
    document = BROUGHT.get(here, f"docs/{here}")

    def resolve(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, hash_, anchor = target.partition("#")
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(document), path))
        page_of = {brought: name for name, brought in BROUGHT.items()}
        uri = page_of.get(meant, meant.removeprefix("docs/"))
        if files.get_file_from_path(uri) is not None:
            relative = posixpath.relpath(uri, posixpath.dirname(here) or ".")
            return f"[{text}]({relative}{hash_}{anchor})"
        if (ROOT / meant).exists():
            is_its_name = text.strip("`/") in meant
            return f"`{meant}`" if is_its_name else f"{text} (`{meant}`)"
        return match[0]  # leads nowhere, which a strict build tells

    return _LINK.sub(resolve, markdown)
