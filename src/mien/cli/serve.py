"""``mien serve``: the service."""

import ipaddress
import math
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.analyze import TtaOption, UncertainOption
from mien.cli.runs import usage_errors
from mien.errors import require_extra


def serve(
    *,
    host: Annotated[
        str, typer.Option(help="Address to serve at; 0.0.0.0: all of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes, each with the model; on Windows one.")
    ] = 1,
    threads: Annotated[
        int, typer.Option(min=0, help="Pictures read at once by a process; 0: one a core.")
    ] = 0,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An ONNX file of 'mien export'.")
    ] = None,
    min_face: Annotated[
        int | None, typer.Option(min=12, help="Smallest face to look for, in pixels.")
    ] = None,
    uncertain_below: UncertainOption = None,
    tta: TtaOption = None,
    max_picture_mb: Annotated[float, typer.Option(help="Largest picture file, in MB.")] = 16,
    max_request_mb: Annotated[float, typer.Option(help="Largest request, in MB.")] = 64,
    max_megapixels: Annotated[float, typer.Option(help="Largest picture, in megapixels.")] = 50,
    max_pictures: Annotated[int, typer.Option(help="Pictures in one request.")] = 32,
    max_faces: Annotated[int, typer.Option(help="Faces told of one picture.")] = 100,
    max_waiting: Annotated[
        int, typer.Option(help="Pictures of all requests that may wait; 429 beyond.")
    ] = 128,
    max_waiting_mb: Annotated[float, typer.Option(help="What they may have, in MB.")] = 256,
    max_live: Annotated[int, typer.Option(help="Live cameras at once.")] = 8,
    live_idle_s: Annotated[
        float, typer.Option(help="Seconds without a frame until a live camera is let go.")
    ] = 60,
    max_video_mb: Annotated[float, typer.Option(help="Largest clip, in MB.")] = 200,
    max_video_s: Annotated[float, typer.Option(help="Longest clip, in seconds.")] = 600,
    max_videos: Annotated[
        int, typer.Option(help="Clips that may wait or be read; 429 beyond.")
    ] = 8,
    keep_video_s: Annotated[
        float, typer.Option(help="Seconds for which what was read in a clip is kept.")
    ] = 600,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="With a web page to try it, at /page/.")
    ] = True,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take.")] = 30,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="MIEN_API_KEY", help="Key that requests must bring; best by the environment."
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Web origin whose pages may use it; again for more."),
    ] = None,
) -> None:
    """Serve readings of pictures and clips by REST and a web page, until Ctrl-C or SIGTERM.

    Pictures are read in memory and not kept; a clip is deleted as soon as it is read. Pictures
    taken on when told to stop are finished.

    Example: mien serve --port 8000
    """
    with require_extra("serve"):
        from mien.serving import server  # noqa: PLC0415
        from mien.serving.service import open_analyzer  # noqa: PLC0415
        from mien.serving.settings import ServiceSettings  # noqa: PLC0415

    with usage_errors():
        settings = ServiceSettings(
            model=model,
            min_face=min_face,
            uncertain_below=uncertain_below,
            tta=tta,
            threads=threads,
            max_picture_bytes=_millions(max_picture_mb),
            max_request_bytes=_millions(max_request_mb),
            max_pixels=_millions(max_megapixels),
            max_pictures=max_pictures,
            max_faces=max_faces,
            max_waiting_pictures=max_waiting,
            max_waiting_bytes=_millions(max_waiting_mb),
            max_live=max_live,
            live_idle_s=live_idle_s,
            max_video_bytes=_millions(max_video_mb),
            max_video_s=max_video_s,
            max_videos=max_videos,
            keep_video_s=keep_video_s,
            page=page,
            timeout_s=timeout,
            api_key=api_key,
            allow_origins=tuple(allow_origin or ()),
        )
    with server.bind(host, port) as listener:
        analyzer = open_analyzer(settings)
        address = server.address_of(listener)
        typer.echo(f"serving at {address}; Ctrl-C stops", err=True)
        if page:
            typer.echo(f"the web page is at {address}/page/", err=True)
        if api_key is None and not _is_loopback(host):
            typer.echo("anyone who reaches this machine may use it: see --api-key", err=True)
        server.serve(settings, listener, analyzer, workers=workers)


def _millions(number: float) -> int:
    if not math.isfinite(number):
        raise ValueError(f"a limit in millions must be finite, got {number}")
    return round(number * 1e6)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
