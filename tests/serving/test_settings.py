import pytest

from mien.serving.settings import ServiceSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", -1),
        ("batch_faces", 0),
        ("batch_faces", 257),
        ("batch_wait_ms", float("nan")),
        ("tta", "rotate"),
        ("video_readers", 0),
        ("timeout_s", 0),
        ("timeout_s", float("inf")),
        ("max_pixels", 0),
        ("max_waiting_bytes", -5),
        ("max_waiting_bytes", 63_999_999),
        ("max_waiting_pictures", 31),
        ("api_key", ""),
        ("api_key", " open"),
        ("api_key", "sésame"),
        ("allow_origins", ("example.org",)),
        ("allow_origins", ("*", "https://example.org/")),
        ("allow_origins", ("https://example.org/page",)),
        ("allow_origins", ("https://Example.org",)),
        ("allow_origins", ("HTTPS://example.org",)),
        ("allow_origins", ("https://example.org:443",)),
        ("allow_origins", ("http://localhost:80",)),
        ("allow_origins", ("https://bücher.example",)),
        ("allow_origins", ("https://",)),
        ("allow_origins", ("null",)),
    ],
)
def test_a_limit_out_of_range_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name.removesuffix("s").removeprefix("allow_")):
        ServiceSettings(**{name: value})  # type: ignore[arg-type]


def test_origins_as_browsers_send_them() -> None:
    origins = (
        *("*", "https://example.org", "http://localhost:3000", "http://[::1]:8080"),
        *("http://my_host:443", "https://xn--bcher-kva.example", "chrome-extension://abcdef"),
    )
    assert ServiceSettings(allow_origins=origins).allow_origins == origins


def test_the_key_is_not_shown() -> None:
    settings = ServiceSettings(api_key="open-sesame")

    assert "sesame" not in repr(settings)
    assert "max_faces=100" in repr(settings)


def test_what_a_client_must_keep_to() -> None:
    limits = ServiceSettings(max_pictures=3).limits()

    assert limits["max_pictures"] == 3
    assert "max_waiting_bytes" not in limits, "is of all clients together"
