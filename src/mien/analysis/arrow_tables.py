"""Rows as Arrow tables: one schema for whatever writes Parquet, here or on a cluster."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGERS: Final = ("frame", "width", "height", "face", "track")
_TEXTS: Final = ("source", "expression")


def check_parquet() -> None:
    """Raise :class:`MissingExtraError` where Parquet can be neither read nor written."""
    if find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow", "video")


def is_integer(column: str) -> bool:
    """Whether a column of a table holds whole numbers."""
    return column in _INTEGERS


def is_text(column: str) -> bool:
    """Whether a column of a table holds text; what is neither is a float."""
    return column in _TEXTS


def arrow_schema(columns: Sequence[str]) -> "pa.Schema":
    """Return the types of the columns of a table of faces, of pictures or of video."""
    import pyarrow as pa  # noqa: PLC0415 - only Parquet needs it

    def type_of(column: str) -> "pa.DataType":
        if is_integer(column):
            return pa.int64()
        return pa.string() if is_text(column) else pa.float64()

    return pa.schema([(name, type_of(name)) for name in columns])


def arrow_table(rows: Iterable[Mapping[str, Any]], schema: "pa.Schema") -> "pa.Table":
    """Return rows as a table; a column that a row lacks is missing there.

    Names that are no valid text, which Arrow does not hold, come with question marks.
    """
    import pyarrow as pa  # noqa: PLC0415 - only Parquet needs it

    return pa.Table.from_pylist(
        [{**row, "source": valid_text(row["source"])} for row in rows], schema
    )


def valid_text(name: str) -> str:
    """Return a file's name with question marks for what is no valid text."""
    return name.encode("utf-8", "replace").decode("utf-8")
