import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mien.data.dataset import ExpressionDataset
from mien.evaluation import Comparison, Evaluation, evaluate
from mien.report.comparison import write_comparison_page


@pytest.fixture(scope="module")
def evaluations(
    trained: Path,
    faces: ExpressionDataset,
    write_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Evaluation, Evaluation]:
    happy = write_model(tmp_path_factory.mktemp("models") / "happy.onnx", finds="happy")
    return evaluate(trained, faces, "PublicTest"), evaluate(happy, faces, "PublicTest")


def page_of(folder: Path, *evaluations: Evaluation) -> str:
    names = tuple(f"model {i}" for i in range(len(evaluations)))
    write_comparison_page(
        folder / "comparison.html", Comparison(names=names, evaluations=evaluations)
    )
    return (folder / "comparison.html").read_text("utf-8")


def test_the_page_has_the_figures_of_all_and_needs_no_other_file(
    evaluations: tuple[Evaluation, Evaluation], tmp_path: Path
) -> None:
    page = page_of(tmp_path, *evaluations)

    for evaluation in evaluations:
        assert f"{100 * evaluation.metrics.accuracy:.2f} %" in page
        assert evaluation.model_sha256[:12] in page
    assert "Confusion, less that of model 0" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)


def test_what_was_against_the_protocol_stands_out(
    evaluations: tuple[Evaluation, Evaluation], tmp_path: Path
) -> None:
    first, second = evaluations
    told = replace(second, breaches=("it remembers",))
    warning = '<p class="warning">Take care: model 1: against the protocol: it remembers.</p>'

    assert warning in page_of(tmp_path, first, told)
    assert warning not in page_of(tmp_path, first, second)


def test_only_the_best_of_a_row_is_bold(
    evaluations: tuple[Evaluation, Evaluation], tmp_path: Path
) -> None:
    first, second = evaluations
    second = replace(second, metrics=replace(second.metrics, accuracy=1.0))

    page = page_of(tmp_path, first, second)

    (row,) = re.findall(r"<tr><td>accuracy</td>.*</tr>", page)
    assert '<td class="best">100.00 %</td>' in row
    assert row.count("best") == 1
    (row,) = re.findall(r"<tr><td>epochs</td>.*</tr>", page)
    assert "<td>2</td><td>–</td>" in row


def test_curves_are_of_those_whose_training_is_known(
    evaluations: tuple[Evaluation, Evaluation], tmp_path: Path
) -> None:
    trained, exported = evaluations

    assert page_of(tmp_path, trained, exported).count(" by epoch") == 2
    page = page_of(tmp_path, exported, replace(exported, latency=None, parameters=None))
    assert "<h2>Training</h2>" not in page
    assert page.count("against accuracy") == 2, "of the one that has them"


def test_one_model_alone_has_nothing_to_differ_from(
    evaluations: tuple[Evaluation, Evaluation], tmp_path: Path
) -> None:
    page = page_of(tmp_path, evaluations[0])

    assert "1 model compared" in page
    assert "Confusion, less" not in page
