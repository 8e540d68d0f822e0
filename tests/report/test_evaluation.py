import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mien.data.dataset import ExpressionDataset
from mien.evaluation import Evaluation, evaluate, read_evaluation
from mien.evaluation.training_facts import PlainReading
from mien.report.evaluation import write_evaluation_page


@pytest.fixture(scope="module")
def measured(trained: Path, faces: ExpressionDataset) -> Evaluation:
    return evaluate(trained, faces, "PublicTest")


def page_of(evaluation: Evaluation, folder: Path) -> str:
    path = folder / "pages" / "report.html"
    write_evaluation_page(path, evaluation)
    return path.read_text("utf-8")


def test_the_page_says_what_was_measured_and_needs_no_other_file(
    measured: Evaluation, tmp_path: Path
) -> None:
    page = page_of(measured, tmp_path)

    assert f"{100 * measured.metrics.accuracy:.2f} %" in page
    for fact in (measured.model_sha256[:12], "PublicTest", "single view", measured.version):
        assert fact in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert "<script" not in page
    m = measured.metrics
    for index, name in enumerate(m.classes):
        rates = (m.precision[index], m.recall[index], m.f1[index])
        interval = "{:.3f} to {:.3f}".format(*m.recall_intervals[index])
        cells = (name, *(f"{rate:.3f}" for rate in rates), str(m.support[index]), interval)
        assert f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" in page


def test_training_is_shown_where_it_is_known(measured: Evaluation, tmp_path: Path) -> None:
    assert measured.training is not None
    assert measured.training.verdict() in page_of(measured, tmp_path)

    page = page_of(replace(measured, training=None), tmp_path)

    assert "<h2>Training</h2>" not in page
    assert 'alt="loss of training' not in page


def test_only_a_single_view_is_shown_as_the_network_answers(
    measured: Evaluation, tmp_path: Path
) -> None:
    scaled = replace(measured, temperature=2.0)

    assert "Before: as the network answers" in page_of(scaled, tmp_path)
    assert "Before: as the network answers" not in page_of(replace(scaled, view="flip"), tmp_path)


def test_what_is_not_known_of_the_faces_is_told(measured: Evaluation, tmp_path: Path) -> None:
    assert "learned from is not known" not in page_of(measured, tmp_path)
    assert "learned from is not known" in page_of(replace(measured, unseen=None), tmp_path)


def test_overfitting_stands_out(measured: Evaluation, tmp_path: Path) -> None:
    assert measured.training is not None
    even = {"train_accuracy": 0.5, "val_accuracy": 0.5, "val_loss": 1.0}
    level = replace(
        measured.training,
        history=tuple({**row, **even} for row in measured.training.history),
        plain=PlainReading(accuracy=0.5, faces=40),
    )
    apart = replace(level, plain=PlainReading(accuracy=1.0, faces=40))

    page = page_of(replace(measured, training=level), tmp_path)
    assert 'class="warning"' not in page
    page = page_of(replace(measured, training=apart), tmp_path)
    assert 'class="warning">The model overfits' in page


def test_a_threshold_can_be_chosen_from_the_page(measured: Evaluation, tmp_path: Path) -> None:
    page = page_of(replace(measured, uncertain_below=0.45), tmp_path)

    assert "Below 45 % it calls a face uncertain" in page
    assert "<td>0.45 (the model&#39;s)</td>" in page
    assert "<td>0.9</td>" in page


def test_names_in_the_data_cannot_break_the_page(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "<b>bold & co")
    page = page_of(evaluate(run, faces, "PublicTest"), tmp_path)

    assert "<b>bold" not in page
    assert "&lt;b&gt;bold &amp; co" in page


def test_an_evaluation_read_from_a_file_is_refused(measured: Evaluation, tmp_path: Path) -> None:
    measured.write(tmp_path / "out.json")

    with pytest.raises(ValueError, match="evaluate again"):
        page_of(read_evaluation(tmp_path / "out.json"), tmp_path)


def test_only_a_single_view_is_shown_before_its_calibration(
    measured: Evaluation, tmp_path: Path
) -> None:
    calibrated = replace(measured, temperature=1.5)

    assert "Before: as the network answers" in page_of(calibrated, tmp_path)
    assert "Before: as the network" not in page_of(replace(calibrated, view="flip"), tmp_path)
