import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mien.cli import main
from mien.data import load_dataset, save_dataset
from mien.data.synthetic import synthetic_faces
from mien.errors import DataError

Run = Callable[..., int]

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/audit.schema.json").read_text("utf-8"))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    faces = synthetic_faces(70, seed=2)
    images = faces.images.copy()
    images[3], images[4] = images[60], 9
    save_dataset(replace(faces, images=images), tmp_path / "faces.npz")
    return tmp_path / "faces.npz"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call ``mien data audit`` as a shell does and return the exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["mien", "data", "audit", *map(str, arguments)])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return call


def test_a_page_facts_and_a_data_set_of_changes(
    run: Run, source: Path, tmp_path: Path, capsys: Any
) -> None:
    page, facts, fix = (tmp_path / "out" / name for name in ("a.html", "a.json", "fix.json"))
    options = ("--output", page, "--json", facts, "--fix", fix, "--no-near")
    assert run(source, *options) == 0
    captured = capsys.readouterr()
    assert "Audit of faces.npz" in page.read_text("utf-8")
    assert json.loads(facts.read_text("utf-8"))["flat"][0]["index"] == 4
    names = load_dataset(fix).names.tolist()
    assert "row 4" not in names
    assert "row 5" not in names
    assert "row 61" in names
    assert "faces left" in captured.out
    rows = [" ".join(line.split()) for line in captured.out.splitlines()]
    assert "of one colour 1" in rows
    assert "PublicTest faces also in Training 1" in rows
    written = [line for line in captured.err.splitlines() if line.startswith("written: ")]
    assert written == [f"written: {path}" for path in (page, facts, fix)]


def test_what_changes_meanwhile_does_not_pass_for_what_was_audited(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mien.report.audit

    write_page = mien.report.audit.write_audit_page

    def write_late(*arguments: Any, **options: Any) -> None:
        save_dataset(synthetic_faces(70, seed=9), source)
        write_page(*arguments, **options)

    monkeypatch.setattr(mien.report.audit, "write_audit_page", write_late)
    options = ("--output", tmp_path / "a.html", "--fix", tmp_path / "fix.json")
    assert run(source, *options, "--no-near", "--no-non-faces") == 0
    with pytest.raises(DataError, match="has changed since"):
        load_dataset(tmp_path / "fix.json")


def test_the_variable_names_the_data(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("MIEN_FER2013", str(source))
    monkeypatch.chdir(tmp_path)
    assert run("--no-near", "--no-non-faces", "--fix", "fix.json") == 0
    assert (tmp_path / "audit.html").is_file()
    assert len(load_dataset("fix.json")) == 68
    assert "without a face" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--output", "page.txt"), "name a .html"),
        (("--json", "facts.html"), "name a .json file"),
        (("--json", "x.json", "--fix", "x.json"), "--fix: x.json: is what is read"),
        (("--splits", "Training,train"), "unknown split 'train': did you mean 'Training'?"),
    ],
)
def test_a_mistake_is_one_line(
    run: Run, source: Path, capsys: Any, options: tuple[str, ...], message: str
) -> None:
    assert run(source, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_manifest_is_not_written_over_its_source(
    run: Run, source: Path, tmp_path: Path, capsys: Any
) -> None:
    fix = tmp_path / "fix.json"
    plain = ("--no-near", "--no-non-faces", "--output", tmp_path / "a.html")
    assert run(source, *plain, "--fix", fix) == 0
    before = fix.read_bytes()
    assert run(fix, *plain, "--fix", fix) == 2
    assert fix.read_bytes() == before
    assert run(fix, *plain, "--fix", tmp_path / "second.json") == 0
    assert len(load_dataset(tmp_path / "second.json")) == 68


def test_without_data(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("MIEN_FER2013", raising=False)
    assert run() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "MIEN_FER2013" in line


def test_label_errors_come_from_a_cross_validation(
    source: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = load_dataset(source)
    labels = faces.labels.copy()
    labels[10:60:7] = (labels[10:60:7] + 1) % 7
    save_dataset(replace(faces, labels=labels), source)
    tiny = ["--set", "model.components=5"]
    arguments = ["mien", "cross-validate", "pca-knn", "--data", source, "--folds", 2, *tiny]
    monkeypatch.setattr("sys.argv", [*map(str, arguments), "--output", str(tmp_path / "folds")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code

    page, cleaned = tmp_path / "audit.html", tmp_path / "cleaned.json"
    options = ["--output", page, "--json", tmp_path / "found.json", "--no-near", "--no-non-faces"]
    found = ["--cross-validation", tmp_path / "folds", "--fix", cleaned, "--relabel", 0]
    assert run(source, *options, *found) == 0

    facts = json.loads((tmp_path / "found.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(facts)
    errors = facts["label_errors"]
    assert "2-fold cross-validation of pca-knn" in errors["source"]
    assert errors["source"] in page.read_text("utf-8")
    changes = json.loads(cleaned.read_text())["changes"]
    relabelled = {row["index"] for row in changes if row["action"] == "relabel"}
    assert relabelled <= {row["index"] for row in errors["labels"]}
    assert not relabelled.isdisjoint(range(10, 60, 7)), "some of those labelled wrongly above"


def test_relabelling_needs_probabilities(
    source: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source, "--output", tmp_path / "a.html", "--relabel", 0.9) == 2
    assert "--cross-validation" in capsys.readouterr().err


def test_the_json_of_a_full_audit_is_as_its_schema_says(
    source: Path, run: Run, tmp_path: Path
) -> None:
    assert run(source, "--output", tmp_path / "a.html", "--json", tmp_path / "a.json") == 0

    facts = json.loads((tmp_path / "a.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(facts)
    assert facts["near_duplicates"] is not None
    assert facts["non_faces"] is not None
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate({**facts, "images": -1})
