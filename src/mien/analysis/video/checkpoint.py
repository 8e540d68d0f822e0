"""Where a stopped run is, and what it needs to go on as if it had not been stopped."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from mien.cache import atomic_write
from mien.errors import MediaError


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a run after some frame.

    Attributes:
        made_by: What the rows depend on: source, model, options; as JSON types.
        frames: Frames in the partial file.
        size_bytes: Its size; what comes after is cut off.
        last_index: Index of the last of the frames; -1 before the first.
        last_time_s: That frame's time in seconds.
        reader: What the reader of the frames was in, as JSON types.
        so_far: Size and time of writing of the unfinished table that a stop left, which the
            finished one may replace; None where there is none.
    """

    made_by: dict[str, Any]
    frames: int = 0
    size_bytes: int = 0
    last_index: int = -1
    last_time_s: float = 0.0
    reader: dict[str, Any] = field(default_factory=dict)
    so_far: tuple[int, int] | None = None

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return the checkpoint that :func:`write_checkpoint` wrote.

        Raises:
            KeyError: A value is missing.
            TypeError: The values, or one of them, are of another type.
            ValueError: One of them is not a number.
        """
        so_far = values["so_far"]
        return cls(
            made_by=dict(values["made_by"]),
            frames=int(values["frames"]),
            size_bytes=int(values["size_bytes"]),
            last_index=int(values["last_index"]),
            last_time_s=float(values["last_time_s"]),
            reader=dict(values["reader"]),
            so_far=None if so_far is None else (int(so_far[0]), int(so_far[1])),
        )

    def check_made_by(self, made_by: Mapping[str, Any], table: Path, partial: Path) -> None:
        """See that a run may go on with these rows.

        Args:
            made_by: What the run's own rows depend on.
            table: The table, to name it.
            partial: The file with the rows, to name it.

        Raises:
            MediaError: They were made in another way; the message says which.
        """
        # By way of JSON, since the rows' own came that way: a tuple became a list.
        now = json.loads(json.dumps(dict(made_by)))
        for name in {**self.made_by, **now}:
            was, new = self.made_by.get(name), now.get(name)
            if was != new:
                raise MediaError(
                    f"{table}: cannot be resumed: {name} was {was}, now {new}: call as before, or "
                    f"delete {partial} to start afresh"
                )


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Return what a stopped run left; None where there is none.

    Raises:
        MediaError: It is damaged.
        OSError: It cannot be read.
    """
    try:
        return Checkpoint.from_dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise MediaError(f"{path}: damaged: delete it to start afresh") from error


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of the one before.

    Raises:
        OSError: It cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(checkpoint)), "utf-8")
