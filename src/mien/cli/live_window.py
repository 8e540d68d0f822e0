"""What a camera shows, in a window."""

import contextlib
import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from mien.errors import MediaError

if TYPE_CHECKING:
    from mien.cli.webcam import Pace, Seen

#: The part of the screen's sides that the picture may take.
_PART: Final = 0.8


def has_display() -> bool:
    """Return whether windows can be opened here."""
    try:
        import tkinter  # noqa: PLC0415

        # Pillow's bridge to it may be missing where it is there.
        from PIL import ImageTk  # noqa: F401, PLC0415
    except ImportError:
        return False
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return False
    try:
        tkinter.Tk().destroy()
    except tkinter.TclError:
        return False
    return True


class WindowView:
    """Shows frames in a window, and the pace in a line below.

    Attributes:
        closed: The window was closed, or q or Escape pressed in it.

    Raises:
        MediaError: No window can be opened.
    """

    def __init__(self, title: str) -> None:
        import tkinter  # noqa: PLC0415

        self.closed = False
        self._error = tkinter.TclError
        try:
            self._window = tkinter.Tk()
        except tkinter.TclError as error:
            raise MediaError(f"no window can be opened ({error}); use --terminal") from error
        self._window.title(f"{title} - mien")
        self._window.configure(background="black")
        self._picture = tkinter.Label(self._window, background="black", borderwidth=0)
        self._picture.pack(expand=True)
        self._line = tkinter.Label(self._window, background="black", foreground="#bbbbbb")
        self._line.pack(side="bottom", anchor="w", padx=8, pady=4)
        self._window.protocol("WM_DELETE_WINDOW", self._close)
        for key in ("q", "<Escape>"):
            self._window.bind(key, self._close)
        # Pillow's bridge to a window that is gone crashes the process.
        self._window.bind("<Destroy>", self._close)
        self._largest_wh = (
            int(self._window.winfo_screenwidth() * _PART),
            int(self._window.winfo_screenheight() * _PART),
        )
        self._photo: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # It is gone already where something else destroyed it.
        with contextlib.suppress(self._error):
            self._window.destroy()

    def show(self, seen: "Seen", pace: "Pace") -> None:
        """Show one frame, its people drawn in it, and the pace."""
        from PIL import ImageTk  # noqa: PLC0415

        if self.closed:
            return
        image = seen.annotated
        width, height = self._largest_wh
        scale = min(width / image.width, height / image.height)
        if scale < 1:
            image = image.resize((round(image.width * scale), round(image.height * scale)))
        if self._photo is None or (self._photo.width(), self._photo.height()) != image.size:
            # Of this window, which need not be the program's first.
            self._photo = ImageTk.PhotoImage(image, master=self._window)
            self._picture.configure(image=self._photo)
        else:
            self._photo.paste(image)
        self._line.configure(text=f"{pace.to_line()} · q closes")
        self.idle()

    def idle(self) -> None:
        """Let the window answer to mouse and keys."""
        try:
            self._window.update()
        except self._error:
            self.closed = True

    def _close(self, *_event: Any) -> None:
        self.closed = True
