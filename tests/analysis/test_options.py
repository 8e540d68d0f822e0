from pathlib import Path

from mien.analysis.options import AnalyzerOptions


def test_an_analyzer_is_opened_as_the_options_say(tiny_model: Path) -> None:
    options = AnalyzerOptions(model=tiny_model, uncertain_below=0.25, threads=1, tta="flip")

    analyzer = options.open_analyzer()

    assert analyzer.classifier.path == tiny_model
    assert (analyzer.uncertain_below, analyzer.classifier.tta) == (0.25, "flip")
    assert AnalyzerOptions(model=tiny_model, threads=1).open_analyzer().classifier.tta is None
