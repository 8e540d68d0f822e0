import re
from dataclasses import replace

import numpy as np
import pytest

from mien.evaluation.speed.card import BatchSpeed, Machine, SpeedCard
from mien.evaluation.speed.memory import PeakMemory
from mien.evaluation.speed.roofline import Roofline
from mien.report import page
from mien.report.speed import describe_speed, roofline_chart

CARD = SpeedCard(
    machine=Machine(processor="a <fast> processor", cores=2, system="an OS"),
    speeds=tuple(
        BatchSpeed(threads=threads, batch=batch, p50_ms=2 / threads, p95_ms=4, repeats=9)
        for threads in (1, 2)
        for batch in (1, 64)
    ),
    rooflines=(
        Roofline(threads=1, gflops=50, bandwidth_gb_s=5),
        Roofline(threads=2, gflops=100, bandwidth_gb_s=6),
    ),
    parameters=1_250_000,
    multiply_adds=10_000_000,
    file_bytes=5_000_500,
    memory=PeakMemory(imports_mb=51, model_mb=82),
)


def render(card: SpeedCard) -> str:
    """Write the part within a page, as a template that includes it does."""
    part = '{% block main %}{% include "_speed.html" %}{% endblock %}'
    template = page._environment().from_string('{% extends "base.html" %}' + part)
    return template.render(title="t", lead="l", version="0", speed=describe_speed(card))


def test_the_page_tells_times_sizes_and_limits() -> None:
    text = render(CARD)

    assert re.search(
        r"<td>2</td><td>64</td><td>1.00</td><td>4.00</td><td>1,000</td><td>10.0</td><td>20 %</td>",
        text,
    )
    for tile in ("1.25 M", "10.0 M", "5.0 MB", "82 MB", "1,000"):
        assert f"<b>{tile}</b>" in text
    assert "imports what runs the model takes 51 MB" in text
    assert "<td>2</td><td>100.0</td><td>6.0</td>" in text
    assert "a &lt;fast&gt; processor, 2 cores, an OS" in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)


def test_what_is_not_known_is_left_out() -> None:
    bare = replace(CARD, parameters=None, multiply_adds=None, file_bytes=None, memory=None)
    text = render(bare)

    assert "Roofline" not in text
    assert "eak memory" not in text
    assert text.count('<div class="tile">') == 1
    assert "<td>–</td><td>–</td>" in text
    with pytest.raises(ValueError, match="not counted"):
        roofline_chart(bare)


def test_the_roofline_rises_to_its_flat_part_and_the_model_lies_where_it_is() -> None:
    axes = roofline_chart(CARD).axes[0]

    roofs = [line for line in axes.lines if np.size(line.get_xdata()) > 1]
    assert len(roofs) == 2
    for roof, limits in zip(roofs, CARD.rooflines, strict=True):
        x, y = np.asarray(roof.get_xdata()), np.asarray(roof.get_ydata())
        assert y[0] == pytest.approx(x[0] * limits.bandwidth_gb_s)
        assert y[-1] == limits.gflops
    dots = [line.get_xydata() for line in axes.lines if np.size(line.get_xdata()) == 1]
    places = [tuple(np.asarray(dot)[0].tolist()) for dot in dots]
    expected = [(CARD.intensity(s.batch), CARD.gflops(s)) for s in CARD.speeds]
    assert sorted(places) == sorted((x or 0, y or 0) for x, y in expected)
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_shares_beyond_the_attainable_are_explained() -> None:
    slow = tuple(replace(each, gflops=1) for each in CARD.rooflines)

    assert "no error" not in render(CARD)
    assert "Shares above 100 % are no error" in render(replace(CARD, rooflines=slow))
