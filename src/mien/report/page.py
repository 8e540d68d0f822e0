"""One self-contained HTML page: templates, the style, pictures embedded."""

import base64
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

import mien
from mien.cache import atomic_write

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure


def write_page(path: Path, template: str, **context: Any) -> None:
    """Write one HTML file that needs no other: no scripts, no fonts, no pictures from elsewhere.

    Args:
        path: The file; replaced whole or not at all.
        template: A file name under ``templates/``.
        context: What the template asks for; text in it is escaped.
    """
    html = _environment().get_template(template).render(version=mien.__version__, **context)
    with atomic_write(path) as temporary:
        # File names need not be valid text; what is not becomes a question mark.
        temporary.write_text(html, "utf-8", errors="replace")


def figure_uri(figure: "Figure") -> str:
    """Return a matplotlib figure as an SVG data URI, the same bytes for the same figure."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    stream = io.BytesIO()
    with (
        mpl.rc_context({"svg.hashsalt": "mien", "svg.fonttype": "path"}),
        warnings.catch_warnings(),
    ):
        # A class named in a script that the font lacks is drawn as boxes; the tables have its name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    return _data_uri(stream.getvalue(), "image/svg+xml")


def picture_uri(image: npt.NDArray[np.uint8]) -> str:
    """Return ``(H, W)`` grey or ``(H, W, 3)`` RGB uint8 pixels as a PNG data URI."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return _data_uri(stream.getvalue(), "image/png")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _environment() -> "Environment":
    import jinja2  # noqa: PLC0415 - only reports need it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.2f} %"
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment
