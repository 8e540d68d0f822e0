"""Pictures in Parquet: tables whose rows hold the bytes of picture files.

A table has its pictures in a column ``image`` or ``bytes``: of bytes, or of structs with a field
``bytes``, as Hugging Face's data sets have them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.analysis.arrow_tables import check_parquet
from mien.analysis.media import FileKind, find_files, refuse_picture_url
from mien.errors import MediaError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

#: How the names of such tables end.
TABLE_SUFFIX: Final = ".parquet"
#: Columns that may hold the pictures, in the order they are looked for.
_COLUMNS: Final = ("image", "bytes")
#: Rows of one job, and the most jobs a row group is split into: each reads the group's pages anew.
_ROWS: Final = 32
_SLICES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRows:
    """Some rows of one row group of a table.

    Attributes:
        path: The table as it was named.
        column: Its column of pictures.
        row_group: The row group.
        group_start: The table's row that the group starts at.
        start: First of the rows, within the group.
        count: How many rows.
    """

    path: str
    column: str
    row_group: int
    group_start: int
    start: int
    count: int

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """Yield each picture's name, ``faces.parquet#12`` for row 12 from 0, and its bytes.

        Raises:
            MediaError: The table cannot be read.
        """
        first = self.group_start + self.start
        end = first + self.count
        values = self._values()
        for row in range(first, end):
            try:
                value = next(values)
            except (OSError, ValueError) as error:  # Arrow's own errors are ValueErrors
                raise MediaError(
                    f"{self.path}: rows {row} to {end - 1} cannot be read: {error}"
                ) from error
            if isinstance(value, dict):
                value = value["bytes"]
            yield f"{self.path}#{row}", value or b""

    def _values(self) -> Iterator[Any]:
        import pyarrow.parquet as pq  # noqa: PLC0415 - only Parquet needs it

        passed = 0
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(
                batch_size=_ROWS, row_groups=[self.row_group], columns=[self.column]
            ):
                skipped = max(0, self.start - passed)
                passed += len(batch)
                yield from batch.column(0)[skipped:].to_pylist()


def is_table(source: str) -> bool:
    """Whether a source names such tables: a file, a folder of parts or a pattern."""
    return source.lower().endswith(TABLE_SUFFIX)


def plan_rows(sources: Iterable[str]) -> Iterator[PictureRows]:
    """Yield the rows of tables, in parts to be read one by one.

    Raises:
        MediaError: A source does not exist, or is no table of pictures.
        MissingExtraError: pyarrow is not installed.
    """
    check_parquet()
    import pyarrow.parquet as pq  # noqa: PLC0415 - only Parquet needs it

    for path in find_files(sources, _TABLES):
        try:
            with pq.ParquetFile(path) as file:
                yield from _plan_file(path, file)
        except (OSError, ValueError) as error:
            raise MediaError(f"{path}: not a Parquet file, or damaged: {error}") from error


def _plan_file(path: str, file: "pq.ParquetFile") -> Iterator[PictureRows]:
    column = _picture_column(path, file)
    group_start = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        step = max(_ROWS, -(-rows // _SLICES))
        for start in range(0, rows, step):
            yield PictureRows(
                path=path,
                column=column,
                row_group=group,
                group_start=group_start,
                start=start,
                count=min(step, rows - start),
            )
        group_start += rows


def _picture_column(path: str, file: "pq.ParquetFile") -> str:
    import pyarrow as pa  # noqa: PLC0415 - only Parquet needs it

    schema = file.schema_arrow
    for name in _COLUMNS:
        if name not in schema.names:
            continue
        column, kind = name, schema.field(name).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            # The bytes alone: the struct's other fields are not read.
            column, kind = f"{name}.bytes", kind.field("bytes").type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return column
    raise MediaError(
        f"{path}: no column of pictures: expected {' or '.join(map(repr, _COLUMNS))} with the "
        f"bytes of picture files, found {', '.join(schema.names) or 'none'}"
    )


def _list_tables(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"*{TABLE_SUFFIX}"))


_TABLES: Final = FileKind(
    noun="table",
    suffixes=(TABLE_SUFFIX,),
    list_folder=_list_tables,
    takes=lambda parts: is_table(parts[-1]),
    refuse_url=refuse_picture_url,
)
