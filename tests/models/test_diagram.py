import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from torch import nn

from mien.models import MODELS, NetworkSummary, build_model, summarise
from mien.models.diagram import MOST_BOXES, draw_diagram, write_diagram
from mien.models.residual import ResidualNetConfig

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def titles(svg: str) -> list[str]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")
    return [e.text or "" for e in found if e.get("class") == "t" and (e.text or "x")[0] != "×"]


@pytest.fixture(scope="module")
def residual() -> NetworkSummary:
    return summarise(build_model("residual"))


@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_drawn_inside_its_page(name: str) -> None:
    root = ElementTree.fromstring(draw_diagram(summarise(build_model(name))))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])

    for box in root.iter(f"{SVG}rect"):
        right = float(box.get("x", 0)) + float(box.attrib["width"])
        bottom = float(box.get("y", 0)) + float(box.attrib["height"])
        assert right <= width
        assert bottom <= height
    assert height < 1400


def test_shapes_stand_between_boxes(residual: NetworkSummary) -> None:
    words = texts(draw_diagram(residual))

    for shape in ("1 × 48 × 48", "32 × 24 × 24", "64 × 12 × 12", "256 × 3 × 3 → 256", "7"):
        assert shape in words, "→: the pooling that is no layer"


def test_a_block_for_each_box_and_an_arc_for_each_shortcut(residual: NetworkSummary) -> None:
    svg = draw_diagram(residual)

    assert [title.split(" ")[0] for title in titles(svg)] == [
        *("stem", "stages.0–1", "stages.2", "stages.3", "stages.4", "stages.5"),
        *("stages.6", "stages.7", "head"),
    ]
    assert svg.count("<circle") == 7, "one where two blocks are one box"
    assert "× 2" in texts(svg)
    assert "<circle" not in draw_diagram(summarise(build_model("plain")))


def test_deep_networks_stay_on_a_page() -> None:
    deep = ResidualNetConfig(widths=(8, 8, 16), blocks=12).build(7)
    svg = draw_diagram(summarise(deep))

    assert "× 12" in texts(svg)
    assert texts(svg).count("× 11") == 2
    assert len(titles(svg)) == 7


def test_what_does_not_fit_stays_closed() -> None:
    many = [nn.Sequential(nn.Conv2d(1, 1, 2 * i + 1, padding=i), nn.ReLU()) for i in range(30)]
    svg = draw_diagram(summarise(nn.Sequential(nn.Sequential(*many), nn.Flatten())))

    assert len(titles(svg)) <= MOST_BOXES


def test_names_are_escaped(residual: NetworkSummary) -> None:
    assert '<&>"' in texts(draw_diagram(residual, title='<&>"'))


def test_a_file_is_the_same_text(residual: NetworkSummary, tmp_path: Path) -> None:
    path = tmp_path / "new" / "net.svg"
    write_diagram(path, residual)

    assert path.read_text("utf-8") == draw_diagram(residual)
    assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text("utf-8")), "needs no other"


def test_a_residual_network_of_timm_has_its_stages() -> None:
    timm = pytest.importorskip("timm")
    backbone = timm.create_model("resnet50", pretrained=False, num_classes=7, in_chans=1)
    names = [title.split(" ")[0] for title in titles(draw_diagram(summarise(backbone)))]

    assert names == [
        *("conv1–maxpool", "layer1.0", "layer1.1–2", "layer2.0", "layer2.1–3"),
        *("layer3.0", "layer3.1–5", "layer4.0", "layer4.1–2", "global_pool", "fc"),
    ]
