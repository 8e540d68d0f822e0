"""Who takes part, and what must be known of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.errors import MienError
from mien.expressions import unknown_name

_CHECKOUT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package that takes part.

    Attributes:
        name: As it is installed by.
        requirements: What is installed: the newest there is, but for pins that ``remark`` explains.
        import_statement: What its documentation begins with.
        adapter: The module of :mod:`adapters` that uses it; None where only installing and
            importing can be measured.
        engines: The packages that do its work, whose versions are told.
        has_detector: Whether it finds faces in photos.
        remark: What the table says of it.
    """

    name: str
    requirements: tuple[str, ...]
    import_statement: str
    adapter: str | None
    engines: tuple[str, ...]
    has_detector: bool = True
    remark: str = ""


#: The first is what the others are compared with.
PACKAGES: Final = (
    Package(
        name="mien",
        requirements=(str(_CHECKOUT),),
        import_statement="import mien",
        adapter="mien",
        engines=("onnxruntime",),
        remark="its import loads no engine; the cold start does",
    ),
    Package(
        name="fer",
        # setuptools 82 dropped pkg_resources, which it imports; OpenCV 5 ships no Haar cascades.
        requirements=("fer", "setuptools<81", "opencv-contrib-python<5"),
        import_statement="from fer.fer import FER",
        adapter="fer",
        engines=("tensorflow", "opencv-contrib-python"),
        remark="runs with setuptools < 81 and OpenCV 4 alone, which it does not ask for; it "
        "brings torch and CUDA",
    ),
    Package(
        name="deepface",
        # 0.0.103 imports werkzeug, which only its extra "api" brings.
        requirements=("deepface", "werkzeug", "opencv-contrib-python-headless<5"),
        import_statement="from deepface import DeepFace",
        adapter="deepface",
        engines=("onnxruntime", "opencv-contrib-python-headless"),
        remark="imports with werkzeug alone, which it does not ask for; OpenCV 4 for its Haar "
        "cascades, which it would fetch with OpenCV 5",
    ),
    Package(
        name="emotiefflib",
        requirements=("emotiefflib",),
        import_statement="from emotiefflib.facial_analysis import EmotiEffLibRecognizer",
        adapter="emotiefflib",
        engines=("onnxruntime",),
        has_detector=False,
        remark="no face detector: reads the whole picture",
    ),
    Package(
        name="hsemotion-onnx",
        requirements=("hsemotion-onnx",),
        import_statement="from hsemotion_onnx.facial_emotions import HSEmotionRecognizer",
        adapter="hsemotion_onnx",
        engines=("onnxruntime",),
        has_detector=False,
        remark="no face detector: reads the whole picture",
    ),
    Package(
        name="py-feat",
        requirements=("py-feat",),
        import_statement="from feat import Detectorv2",
        adapter=None,
        engines=("torch",),
        remark="no weights to be had here: installed and imported only",
    ),
)


def choose_packages(names: Sequence[str]) -> tuple[Package, ...]:
    """Return the packages of these names and the one they are compared with; all without names.

    Raises:
        MienError: A name is unknown.
    """
    known = [package.name for package in PACKAGES]
    for name in names:
        if name not in known:
            raise MienError(unknown_name("package", name, known))
    first, *rivals = PACKAGES
    return (first, *(rival for rival in rivals if not names or rival.name in names))
