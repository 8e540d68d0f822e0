"""The schema that OpenAPI shows is the result that Python and the command line give."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from mien.analysis.analyzer import Analyzer
from mien.serving.schema import Face, FrameResult


def test_a_result_is_as_the_schema_says(analyzer: Analyzer, photo: bytes) -> None:
    result = analyzer.analyze(photo)
    for real in (result, analyzer.analyze(photo, whole_image=True), replace(result, faces=())):
        table = real.to_dict()
        assert FrameResult.model_validate(table).model_dump(mode="json") == table
    assert list(FrameResult.model_fields) == list(result.to_dict())
    assert list(Face.model_fields) == list(result.faces[0].to_dict())


def test_nothing_may_be_more_or_less(analyzer: Analyzer, photo: bytes) -> None:
    table = analyzer.analyze(photo).to_dict()
    for wrong in ({**table, "more": 1}, {key: table[key] for key in ("source", "size_wh")}):
        with pytest.raises(ValidationError):
            FrameResult.model_validate(wrong)
