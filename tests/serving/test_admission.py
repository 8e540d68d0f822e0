import pytest

from mien.serving.admission import Admission
from mien.serving.problems import Problem
from mien.serving.settings import ServiceSettings


def test_what_is_claimed_is_given_back() -> None:
    settings = ServiceSettings(
        max_pictures=2, max_waiting_pictures=2, max_request_bytes=10, max_waiting_bytes=10
    )
    admission = Admission(settings)

    with admission.claim() as claim:
        claim.add_bytes(4)
        claim.add_bytes(6)
        claim.add_pictures(2)
        assert (admission.bytes, admission.pictures) == (10, 2)
        with admission.claim() as other, pytest.raises(Problem) as caught:
            other.add_bytes(1)
        with admission.claim() as other, pytest.raises(Problem):
            other.add_pictures(1)

    assert caught.value.status == 429
    assert (admission.bytes, admission.pictures) == (0, 0)


def test_retry_after_grows_with_what_waits() -> None:
    admission = Admission(ServiceSettings(threads=2, max_waiting_pictures=1000))
    assert admission.retry_after_s() == 1
    for _ in range(100):
        admission.note_picture(1.0)

    with admission.claim() as claim:
        claim.add_pictures(10)
        assert admission.retry_after_s() == 5
        claim.add_pictures(900)
        assert admission.retry_after_s() == 30, "at most"


def test_nothing_is_taken_on_before_the_end() -> None:
    admission = Admission(ServiceSettings())
    admission.closing = True

    with pytest.raises(Problem) as caught, admission.claim():
        pass

    assert caught.value.status == 503
