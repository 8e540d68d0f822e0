import base64
import io
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from mien.analysis.video import camera
from mien.analysis.video.camera import LiveSource
from mien.errors import MediaError

WriteClip = Callable[..., Path]
DrawFrame = Callable[[int], np.ndarray]
ReadNumber = Callable[[np.ndarray], int]
#: A clip of 0.8 seconds.
SHORT_S = tuple(i / 25 for i in range(20))


def drain(live: LiveSource, times_s: list[float] | None = None) -> list[int]:
    """Take all frames, note their times, and return their indices."""
    indices = []
    while (frame := live.newest()) is not None:
        indices.append(frame.index)
        if times_s is not None:
            times_s.append(frame.time_s)
    return indices


class Server:
    """Serves a file over HTTP; without a length it is a stream that breaks off at its end."""

    def __init__(self, path: Path, *, tells_length: bool, times: int) -> None:
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                if outer.requests > times:
                    self.send_error(503)
                    return
                body = path.read_bytes()
                self.send_response(200)
                if tells_length:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


#: What there is at a path: a whole file, a stream of pieces, or nothing.
Answer = Callable[[str], bytes | Iterator[bytes] | None]


@pytest.fixture
def serve_live() -> Iterator[Callable[[Answer], str]]:
    """Serve over HTTP what a function gives; return the address."""
    servers = []

    def make(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = answer(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                if isinstance(body, bytes):
                    self.send_header("Content-Length", str(len(body)))
                else:
                    self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                for piece in [body] if isinstance(body, bytes) else body:
                    self.wfile.write(piece)

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"127.0.0.1:{server.server_port}"

    yield make
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.fixture
def serve(write_clip: WriteClip) -> Iterator[Callable[..., Server]]:
    servers = []

    def make(**settings: Any) -> Server:
        server = Server(write_clip("live.ts", times_s=SHORT_S), **settings)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


class RtspCamera:
    """A camera on the network: real-time H.264 over RTSP, in the connection that asked for it.

    It breaks off each connection after some frames; a number of connections are taken at most.
    """

    def __init__(self, draw_frame: DrawFrame, *, times: int, frames: int) -> None:
        self._draw_frame = draw_frame
        self._frames = frames
        self.logins: list[str] = []
        self.played = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, args=(times,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.close()
        self._thread.join(timeout=5)

    def _serve(self, times: int) -> None:
        with suppress(OSError):  # closed while it waits
            while self.played < times:
                connection, _ = self._server.accept()
                with connection, suppress(ConnectionError):
                    self._answer(connection)
            self._server.close()

    def _answer(self, connection: socket.socket) -> None:
        for line, headers in self._requests(connection):
            method = line.split()[0]
            reply = [f"CSeq: {headers['cseq']}", "Session: 1"]
            body = ""
            if method == "DESCRIBE" and "authorization" not in headers:
                reply.append('WWW-Authenticate: Basic realm="camera"')
                connection.sendall(self._reply("401 Unauthorized", reply))
                continue
            if method == "DESCRIBE":
                self.logins.append(headers["authorization"])
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n"
                    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
                    "a=fmtp:96 packetization-mode=1\r\na=control:video\r\n"
                )
                reply.append("Content-Type: application/sdp")
            elif method == "SETUP":
                assert "RTP/AVP/TCP" in headers["transport"], "over UDP frames are lost"
                reply.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            connection.sendall(self._reply("200 OK", reply, body))
            if method == "PLAY":
                self.played += 1
                self._play(connection)
                return

    @staticmethod
    def _requests(connection: socket.socket) -> Iterator[tuple[str, dict[str, str]]]:
        with connection.makefile("r", encoding="ascii", newline="\r\n") as stream:
            while line := stream.readline().strip():
                pairs = iter(lambda: stream.readline().strip(), "")
                yield line, {k.lower(): v for k, v in (pair.split(": ", 1) for pair in pairs)}

    @staticmethod
    def _reply(status: str, headers: list[str], body: str = "") -> bytes:
        lines = [f"RTSP/1.0 {status}", *headers, f"Content-Length: {len(body)}", "", body]
        return "\r\n".join(lines).encode()

    def _play(self, connection: socket.socket) -> None:
        """Send frames at their own speed: FFmpeg's RTP packets, wrapped as RTSP has it."""
        packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        packets.bind(("127.0.0.1", 0))
        packets.settimeout(0.02)
        url = f"rtp://127.0.0.1:{packets.getsockname()[1]}"
        with packets, av.open(url, "w", format="rtp") as output:
            stream: Any = output.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "16"}
            began_s = time.perf_counter()
            for index in range(self._frames):
                frame = av.VideoFrame.from_ndarray(self._draw_frame(index))
                frame.pts, frame.time_base = index, Fraction(1, 25)
                output.mux(stream.encode(frame))
                while time.perf_counter() < began_s + (index + 1) / 25:
                    with suppress(TimeoutError):
                        packet = packets.recv(65_536)
                        connection.sendall(struct.pack("!cBH", b"$", 0, len(packet)) + packet)


@pytest.fixture
def open_rtsp_camera(draw_frame: DrawFrame) -> Iterator[Callable[..., RtspCamera]]:
    cameras = []

    def make(**settings: Any) -> RtspCamera:
        cameras.append(RtspCamera(draw_frame, **settings))
        return cameras[-1]

    yield make
    for each in cameras:
        each.close()


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "_PAUSE_S", 0.01)


def test_a_file_is_played_at_its_own_speed(write_clip: WriteClip) -> None:
    with LiveSource(write_clip(times_s=SHORT_S)) as live:
        began_s = time.perf_counter()
        indices = drain(live)
        took_s = time.perf_counter() - began_s

    assert took_s >= 0.7
    assert indices == sorted(set(indices))
    assert len(indices) + live.dropped == 20
    assert indices[-1] == 19
    assert live.ended
    assert live.fps == pytest.approx(25, rel=0.1)


def test_the_newest_frame_is_given_and_older_ones_are_dropped(
    write_clip: WriteClip, read_number: ReadNumber
) -> None:
    with LiveSource(write_clip(times_s=SHORT_S)) as live:
        first = live.newest()
        time.sleep(0.4)
        later = live.newest()
        latency_s = live.latency_s

    assert first is not None
    assert later is not None
    assert later.index >= first.index + 5
    assert live.dropped >= 4
    assert read_number(later.image_rgb) == later.index
    assert later.time_s == pytest.approx(later.index / 25)
    assert latency_s is not None
    assert 0 < latency_s < 0.5


def test_patience_has_an_end(write_clip: WriteClip) -> None:
    with LiveSource(write_clip(times_s=(0.0, 5.0))) as live:
        assert live.newest() is not None
        assert live.newest(timeout_s=0.01) is None
        assert not live.ended


def test_leaving_midway_ends_the_thread(write_clip: WriteClip) -> None:
    with LiveSource(write_clip(times_s=(0.0, 50.0))) as live:
        live.newest()
        thread = live._thread
    assert thread is not None
    assert not thread.is_alive()


def test_a_file_over_http_comes_to_its_end(serve: Callable[..., Server]) -> None:
    server = serve(tells_length=True, times=9)
    with LiveSource(f"http://me:secret@{server.address}/live.ts") as live:
        indices = drain(live)

    assert live.name == f"http://{server.address}/live.ts", "no password in messages and tables"
    assert len(indices) + live.dropped == 20
    assert live.reconnected == 0


@pytest.mark.usefixtures("quick_pauses")
def test_a_stream_that_breaks_off_is_reconnected_to_and_then_given_up(
    serve: Callable[..., Server],
) -> None:
    server = serve(tells_length=False, times=3)
    times_s: list[float] = []
    with LiveSource(f"http://{server.address}/live.ts", attempts=2) as live:
        with pytest.raises(MediaError, match="broke off, and 2 attempts to reconnect failed"):
            drain(live, times_s)
        assert live.ended

    assert live.reconnected == 2
    assert server.requests == 5
    assert times_s == sorted(times_s)


@pytest.mark.usefixtures("quick_pauses")
def test_a_network_camera_is_read_and_reconnected_to(
    open_rtsp_camera: Callable[..., RtspCamera], read_number: ReadNumber
) -> None:
    rtsp = open_rtsp_camera(times=2, frames=50)
    read: list[tuple[float, int]] = []

    def read_all(live: LiveSource) -> None:
        while frame := live.newest():
            read.append((frame.time_s, read_number(frame.image_rgb)))

    with LiveSource(f"rtsp://me:secret@{rtsp.address}/live", attempts=1) as live:
        told = rf"^rtsp://{rtsp.address}/live: .*broke off"
        with pytest.raises(MediaError, match=told):
            read_all(live)

    assert rtsp.played == 2
    assert live.reconnected == 1
    assert rtsp.logins == ["Basic " + base64.b64encode(b"me:secret").decode()] * 2
    times_s, numbers = zip(*read, strict=True)
    assert times_s == tuple(sorted(times_s))
    (again,) = [i for i in range(1, len(numbers)) if numbers[i] < numbers[i - 1]]
    for part in (read[:again], read[again:]):
        # The first frames are looked at by FFmpeg to know the stream, and overtaken by later ones.
        (began_s, first), (ended_s, last) = part[0], part[-1]
        assert last >= 48, "the newest frame comes through"
        assert ended_s - began_s == pytest.approx((last - first) / 25, abs=0.05)


def test_a_stream_that_is_not_there_is_told(serve: Callable[..., Server]) -> None:
    server = serve(tells_length=True, times=0)
    with pytest.raises(MediaError, match=r"live\.ts: cannot be opened: server returned 5"):
        LiveSource(f"http://{server.address}/live.ts").__enter__()
    server.close()
    with pytest.raises(MediaError, match="cannot be opened: connection refused"):
        LiveSource(f"http://{server.address}/live.ts").__enter__()


def test_a_silent_stream_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/live.ts"
        with pytest.raises(MediaError, match=r"live\.ts: .*(no answer within|timed out)"):
            LiveSource(url, timeout_s=0.3).__enter__()


def test_an_rtmp_stream_is_called_and_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        url = f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/door"
        with pytest.raises(MediaError, match=r"live/door: .*(no answer within|timed out)"):
            LiveSource(url, timeout_s=0.3).__enter__()
        connection, _ = server.accept()
        connection.close()


def test_frames_without_times_have_those_of_their_arrival(
    serve_live: Callable[[Answer], str], draw_frame: DrawFrame
) -> None:
    gap_s = 0.2
    file = io.BytesIO()
    Image.fromarray(draw_frame(0)).save(file, "JPEG")
    picture = file.getvalue()

    def send(_path: str) -> Iterator[bytes]:
        for _ in range(8):
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}"
            yield f"--frame\r\n{head}\r\n\r\n".encode() + picture + b"\r\n"
            time.sleep(gap_s)

    times_s: list[float] = []
    live = LiveSource(f"http://{serve_live(send)}/door", attempts=0)
    with live, pytest.raises(MediaError, match="broke off"):
        drain(live, times_s)

    # The first ones are looked at by FFmpeg to know the stream, and come at once.
    assert np.diff(times_s)[-3:].mean() == pytest.approx(gap_s, abs=0.1)
    assert live.fps is None


@pytest.mark.usefixtures("quick_pauses")
def test_a_live_playlist_is_reconnected_to_until_it_has_ended(
    serve_live: Callable[[Answer], str], write_clip: WriteClip
) -> None:
    piece = write_clip("piece.ts", times_s=SHORT_S).read_bytes()
    told = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\npiece.ts\n"
    lists = iter([told, None, None, None, None])

    def answer(path: str) -> bytes | None:
        return next(lists, told + b"#EXT-X-ENDLIST\n") if path.endswith("m3u8") else piece

    with LiveSource(f"http://{serve_live(answer)}/live.m3u8", attempts=8) as live:
        first = live.newest()
        began_s = time.perf_counter()
        indices = drain(live)
        took_s = time.perf_counter() - began_s

    assert first is not None
    assert live.reconnected == 1
    assert indices[-1] == 19, "the record of what was live is not played"
    assert took_s > 0.6, "at its own speed"


def test_a_time_that_jumps_is_not_waited_for(
    serve_live: Callable[[Answer], str], write_clip: WriteClip
) -> None:
    times_s = [*SHORT_S[:5], *(3600 + time_s for time_s in SHORT_S[:5])]
    clip = write_clip("live.ts", times_s=times_s, key_every=1).read_bytes()

    with LiveSource(f"http://{serve_live(lambda _: clip)}/live.ts", timeout_s=2) as live:
        indices = drain(live)

    assert indices[-1] == 9


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.mp4: no such file"):
        LiveSource(tmp_path / "none.mp4").__enter__()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="how Linux names cameras")
def test_a_missing_camera_is_told() -> None:
    with pytest.raises(MediaError, match=r"^camera 63: /dev/video63: no such camera, "):
        LiveSource("63").__enter__()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="out of range"):
        LiveSource(0, timeout_s=0)
