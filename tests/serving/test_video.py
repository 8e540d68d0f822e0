import errno
import io
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient

from mien.analysis.analyzer import Analyzer
from mien.errors import MediaError
from mien.serving.app import create_app
from mien.serving.private_folder import hold, private_folder
from mien.serving.schema import VideoAnswer, VideoSummary
from mien.serving.settings import ServiceSettings
from mien.serving.video_job import JobFolder, JobState, VideoOptions, run_job

ROOT = "/v1/video"


@pytest.fixture(scope="module")
def clip(
    tmp_path_factory: pytest.TempPathFactory, write_clip: Callable[..., Path], photo: bytes
) -> bytes:
    """Six frames of one face, 0.6 s."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_clip(path, photo).read_bytes()


@pytest.fixture(scope="module")
def videos(
    analyzer: Analyzer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, Path]]:
    """A service for videos, and where they lie."""
    folder = tmp_path_factory.mktemp("videos")
    settings = ServiceSettings(
        threads=1, max_video_bytes=200_000, max_video_s=5, max_videos=4, video_folder=folder
    )
    app = create_app(settings, analyzer=analyzer)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, folder


@pytest.fixture
def waiting(gated: Analyzer, tmp_path: Path) -> Iterator[tuple[TestClient, Path]]:
    """A service whose first frame waits at the gate, and which takes on two videos."""
    settings = ServiceSettings(threads=1, max_videos=2, video_folder=tmp_path)
    with TestClient(create_app(settings, analyzer=gated)) as client:
        yield client, tmp_path


def send(client: TestClient, clip: bytes, query: str = "") -> str:
    response = client.post(f"{ROOT}{query}", files={"video": ("clip.mp4", clip)})
    assert response.status_code == 202, response.text
    answer = VideoAnswer.model_validate(response.json())
    assert response.headers["location"] == f"{ROOT}/{answer.id}"
    return response.headers["location"]


def until(told: Callable[[], Any]) -> Any:
    """Return what is told as soon as it is true."""
    end = time.monotonic() + 30
    while not (value := told()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def ended(client: TestClient, job: str) -> dict[str, Any]:
    def state() -> Any:
        answer = client.get(job).json()
        return answer if answer["state"] in ("done", "failed") else None

    return dict(until(state))


def test_a_clip_is_read(videos: tuple[TestClient, Path], clip: bytes) -> None:
    client, folder = videos
    job = send(client, clip)

    answer = ended(client, job)

    assert (answer["state"], answer["progress"], answer["frames"]) == ("done", 1.0, 6)
    assert 0 < answer["expires_in_s"] <= 600
    frames = client.get(f"{job}/result").json()
    assert [frame["frame"] for frame in frames] == list(range(6))
    assert {frame["source"] for frame in frames} == {"clip.mp4"}
    # The detector takes a button of the suit for a second face now and then.
    rows = sum(len(frame["faces"]) for frame in frames)
    assert {face["expression"] for frame in frames for face in frame["faces"]} == {"sad"}
    table = client.get(f"{job}/result?format=csv")
    parquet = client.get(f"{job}/result?format=parquet")
    assert "attachment" in table.headers["content-disposition"]
    assert pyarrow.csv.read_csv(io.BytesIO(table.content)).num_rows == rows >= 6
    assert pyarrow.parquet.read_table(io.BytesIO(parquet.content)).num_rows == rows
    summary = VideoSummary.model_validate(client.get(f"{job}/summary").json())
    person = summary.people[0]
    assert person.shares["sad"] == pytest.approx(1)
    assert person.seen_s == pytest.approx(0.6)
    episode = summary.episodes[0]
    assert (episode.track, episode.expression) == (1, "sad")
    assert not list(folder.rglob("upload")), "the clip itself is not kept"


def test_a_body_that_is_the_clip_and_fewer_frames(
    videos: tuple[TestClient, Path], clip: bytes
) -> None:
    client, _ = videos
    response = client.post(f"{ROOT}?fps=5", content=clip, headers={"Content-Type": "video/mp4"})
    assert response.status_code == 202
    assert ended(client, response.headers["location"])["frames"] == 3


def test_what_was_read_is_deleted_on_demand(videos: tuple[TestClient, Path], clip: bytes) -> None:
    client, folder = videos
    job = send(client, clip)
    ended(client, job)

    assert client.delete(job).status_code == 204

    for method, path in (("GET", job), ("GET", f"{job}/result"), ("DELETE", job)):
        gone = client.request(method, path)
        assert gone.status_code == 404
        assert gone.json()["type"] == "urn:mien:problem:no-such-video"
    assert not (folder / Path(job).name).exists()


def test_a_running_clip_is_cancelled_and_others_wait(
    waiting: tuple[TestClient, Path], gate: Any, clip: bytes
) -> None:
    client, folder = waiting
    running, queued = send(client, clip), send(client, clip)
    assert gate.entered.acquire(timeout=20)

    assert client.get(running).json()["state"] == "running"
    assert client.get(queued).json()["state"] == "queued"
    early = client.get(f"{running}/result")
    assert (early.status_code, early.headers["retry-after"]) == (409, "1")
    refused = client.post(ROOT, files={"video": ("c", clip)})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "mien_waiting_videos 2.0" in client.get("/metrics").text
    assert client.delete(queued).status_code == 204
    assert client.delete(running).status_code == 204
    assert client.get(running).status_code == 404
    gate.opened.set()
    until(lambda: not list(folder.iterdir()))
    assert gate.calls == 1, "it stops at the next frame"
    text = client.get("/metrics").text
    assert 'mien_videos_total{outcome="cancelled"} 2.0' in text


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"files": {"video": ("a.mp4", b"no video")}}, 422, "video-unreadable"),
        ({"files": {"video": ("a.mp4", b"")}}, 422, "no-video"),
        ({"files": {"video": ("a.mp4", b"x" * 200_001)}}, 413, "video-too-large"),
        ({"files": {"video": ("a.mp4", b"x" * 300_000)}}, 413, "video-too-large"),
        ({"files": [("a", ("a", b"1")), ("b", ("b", b"2"))]}, 422, "too-many-videos"),
        ({"data": {"video": "a"}, "headers": {"Content-Type": "text/plain"}}, 415, None),
        (
            {"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            400,
            "malformed",
        ),
    ],
)
def test_what_is_refused_leaves_nothing(
    videos: tuple[TestClient, Path], body: dict[str, Any], status: int, kind: str | None
) -> None:
    client, folder = videos
    before = set(folder.iterdir())

    response = client.post(ROOT, **body)

    assert response.status_code == status, response.text
    kind = kind or "unsupported-media-type"
    assert response.json()["type"] == f"urn:mien:problem:{kind}"
    assert str(folder) not in response.text
    assert set(folder.iterdir()) == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it looks into this process")
def test_what_is_removed_is_closed(
    videos: tuple[TestClient, Path], clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = videos
    removed: list[Path] = []
    still_open: list[Path] = []

    def remove(path: Path, **more: Any) -> None:
        removed.append(path)
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        still_open.extend(link for link in links if path.name in str(link.resolve()))
        rmtree(path, **more)

    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", remove)

    client.post(ROOT, files={"video": ("a.mp4", b"no video")})
    job = send(client, clip)
    ended(client, job)
    client.delete(job)

    assert len(removed) == 2
    assert still_open == [], "Windows removes no open file"


def test_a_clip_that_is_too_long(
    videos: tuple[TestClient, Path],
    write_clip: Callable[..., Path],
    photo: bytes,
    tmp_path: Path,
) -> None:
    client, _ = videos
    long = write_clip(tmp_path / "long.mp4", photo, frames=52).read_bytes()
    response = client.post(ROOT, files={"video": ("long.mp4", long)})
    assert response.status_code == 422
    assert response.json()["type"] == "urn:mien:problem:video-too-long"


def test_a_picture_of_photo_is_no_clip(videos: tuple[TestClient, Path], photo: bytes) -> None:
    client, _ = videos
    response = client.post(ROOT, files={"video": ("photo.jpg", photo)})
    assert response.status_code == 422
    assert response.json()["detail"].startswith("photo.jpg: ")


def test_one_that_takes_too_long_fails(analyzer: Analyzer, clip: bytes) -> None:
    settings = ServiceSettings(threads=1, video_timeout_s=1e-6)
    with TestClient(create_app(settings, analyzer=analyzer)) as client:
        job = send(client, clip)
        answer = ended(client, job)
        assert (answer["state"], answer["problem"]["status"]) == ("failed", 504)
        assert client.get(f"{job}/summary").status_code == 409


def test_a_table_that_cannot_be_written_is_not_the_clips_fault(
    analyzer: Analyzer, clip: bytes, tmp_path: Path
) -> None:
    folder = JobFolder(tmp_path)
    folder.upload.write_bytes(clip)
    folder.table("csv").with_name("faces.csv.partial.csv").mkdir()

    with pytest.raises(MediaError, match=r"faces\.csv"):
        run_job(folder, VideoOptions(source="clip.mp4"), analyzer, ServiceSettings(threads=1))


def test_an_end_is_told_on_a_full_disk_too(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ServiceSettings(threads=1, video_folder=tmp_path)
    with TestClient(create_app(settings, analyzer=analyzer)) as client:
        reading = tmp_path / ("r" * 32)
        reading.mkdir()
        hold(reading).close()
        JobFolder(reading).write_state(JobState(source="clip.mp4", state="running"))

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(JobFolder, "write_state", refuse)
        answer = client.get(f"{ROOT}/{reading.name}")

    assert (answer.status_code, answer.json()["state"]) == (200, "failed")


def test_results_expire(analyzer: Analyzer, clip: bytes, tmp_path: Path) -> None:
    settings = ServiceSettings(threads=1, keep_video_s=0.4, video_folder=tmp_path)
    with TestClient(create_app(settings, analyzer=analyzer)) as client:
        job = send(client, clip)
        until(lambda: client.get(job).status_code == 404)
        until(lambda: not list(tmp_path.iterdir()))


def test_another_worker_tells_and_cancels(
    waiting: tuple[TestClient, Path], gate: Any, analyzer: Analyzer, clip: bytes
) -> None:
    client, folder = waiting
    job = send(client, clip)
    assert gate.entered.acquire(timeout=20)
    settings = ServiceSettings(threads=1, video_folder=folder)
    with TestClient(create_app(settings, analyzer=analyzer)) as other:
        assert other.get(job).json()["state"] == "running"
        assert other.delete(job).status_code == 204
    assert client.get(job).status_code == 404
    gate.opened.set()
    until(lambda: not list(folder.iterdir()))


def test_what_a_killed_worker_left_is_told_and_removed(analyzer: Analyzer, tmp_path: Path) -> None:
    settings = ServiceSettings(threads=1, video_folder=tmp_path)
    with TestClient(create_app(settings, analyzer=analyzer)) as client:
        reading, arriving = tmp_path / ("r" * 32), tmp_path / ("a" * 32)
        for folder in (reading, arriving):
            folder.mkdir()
            hold(folder).close()
            (folder / "upload").write_bytes(b"half a clip")
        JobFolder(reading).write_state(JobState(source="clip.mp4", state="running", frames=3))

        for name, state in (("e", ""), ("n", '{"source": "clip.mp4", "of": "a later version"}')):
            unreadable = tmp_path / (name * 32)
            unreadable.mkdir()
            hold(unreadable).close()
            (unreadable / "state.json").write_text(state)
            assert client.get(f"{ROOT}/{unreadable.name}").status_code == 404

        answer = client.get(f"{ROOT}/{reading.name}").json()
        client.app.state.service.videos.sweep()  # type: ignore[attr-defined]

    assert (answer["state"], answer["frames"]) == ("failed", 3)
    assert answer["problem"]["type"] == "urn:mien:problem:worker-died"
    assert not (reading / "upload").exists()
    assert [path.name for path in tmp_path.iterdir()] == [reading.name]


def test_the_folder_of_videos_is_made(analyzer: Analyzer, clip: bytes, tmp_path: Path) -> None:
    settings = ServiceSettings(threads=1, video_folder=tmp_path / "new" / "videos")
    with TestClient(create_app(settings, analyzer=analyzer)) as client:
        assert ended(client, send(client, clip))["state"] == "done"


@pytest.mark.parametrize("job", ["x", "..", "a" * 32, "%2e%2e%2f" + "a" * 23])
def test_ids_are_not_to_be_guessed(videos: tuple[TestClient, Path], job: str) -> None:
    client, _ = videos
    assert client.get(f"{ROOT}/{job}/summary").status_code == 404


def test_a_key_is_asked_for(analyzer: Analyzer, clip: bytes) -> None:
    with TestClient(create_app(ServiceSettings(api_key="key"), analyzer=analyzer)) as client:
        assert client.post(ROOT, files={"video": ("c", clip)}).status_code == 401
        assert client.get(f"{ROOT}/{'a' * 32}").status_code == 401


def test_a_private_folder_is_gone_with_its_owner(tmp_path: Path) -> None:
    with private_folder("videos", tmp_path) as mine:
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        left = tmp_path / "mien-videos-of-a-killed-one"
        left.mkdir()
        (left / "in-use").touch()
        with private_folder("videos", tmp_path) as other:
            assert not left.exists()
            assert mine.exists()
        assert not other.exists()
    assert not list(tmp_path.iterdir())
