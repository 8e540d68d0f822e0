"""float32 → int8: an exported model made smaller and faster by static quantization.

Weights become signed 8-bit numbers, a scale for each output channel; activations unsigned ones,
whose ranges are measured on faces of Training. The graph keeps its float operators between
``QuantizeLinear`` and ``DequantizeLinear`` nodes (QDQ), which ONNX Runtime fuses to integer ones.

Of a residual network of 78 M multiply-adds on one core of a Xeon with AVX-512 VNNI, the int8 form
is 2.6 times as fast for a face alone and 3.3 times in batches of 64; with signed activations it
would be 0.6 times as fast, since ONNX Runtime has no such kernel there.
``docs/quantization.md`` has the figures of every choice made here, and :mod:`mien.dequantization`
reads the weights back.

Source: Jacob et al. 2018, https://arxiv.org/abs/1712.05877;
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

import mien
from mien.analysis.classifier import ExpressionClassifier
from mien.cache import atomic_write
from mien.data.dataset import SPLITS, ExpressionDataset, check_dataset
from mien.data.protocol import refuse_breaches
from mien.data.selection import stratified_share
from mien.dequantization import is_quantized
from mien.errors import DataError, ModelError
from mien.evaluation.metrics import classification_metrics
from mien.evaluation.parity import Parity, measure_parity
from mien.evaluation.predictor import Predictor, faces_as_trained, open_predictor
from mien.evaluation.protocol import evaluation_breaches, find_seen, learned_by
from mien.metadata import ModelMetadata, file_sha256
from mien.preprocess import standardise

if TYPE_CHECKING:
    import onnx

#: Faces that the activations' ranges are measured on. 256 gave the same accuracy; 1,024 of FER2013
#: take eight seconds on one core.
CALIBRATION_FACES: Final = 1024

#: Most percentage points of accuracy that may be lost.
MOST_LOST: Final = 0.5

#: The split that ranges are measured on, and the one that the two forms are compared on.
_RANGES_ON, _COMPARED_ON = SPLITS[:2]

#: What the file says of its numbers.
_FORM: Final[Mapping[str, str]] = MappingProxyType(
    {
        "weights": "int8, 7 bits, a scale for each output channel",
        "activations": "uint8",
        "ranges": "least and largest value",
        "format": "QDQ",
    }
)

#: Faces that go through the network at once while ranges are measured.
_BATCH: Final = 64


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """A quantized model.

    Attributes:
        path: The ONNX file.
        size_bytes: Its size.
        float_bytes: Size of the file that it was made of.
        parity: What it answers differently.
        metadata: What the file carries.
        breaches: What was done against the protocol, on demand: a clause each.
    """

    path: Path
    size_bytes: int
    float_bytes: int
    parity: Parity
    metadata: ModelMetadata
    breaches: tuple[str, ...] = ()


def quantize(
    model: str | Path,
    dataset: ExpressionDataset,
    path: str | Path | None = None,
    *,
    faces: int = CALIBRATION_FACES,
    seed: int = 0,
    most_lost: float = MOST_LOST,
    override_protocol: bool = False,
) -> Quantization:
    """Write an int8 copy of an exported model, and compare the two on PublicTest.

    The file has the same input and output and the same metadata, name included, but for two:
    ``data["quantization"]`` tells how it was made and what it lost, and ``metrics`` are its own. It
    is written only where it loses no more accuracy than allowed, or no more than chance explains.

    Args:
        model: An ONNX file of ``mien export``.
        dataset: Training faces to measure ranges on and PublicTest faces to compare on.
        path: Where the file goes; by default beside the model, its name ending in ``-int8``.
        faces: Training faces to measure ranges on, as many of each class as its share; all where
            there are fewer.
        seed: Which faces.
        most_lost: Most percentage points of accuracy that may be lost.
        override_protocol: Quantize even where that is against the protocol.

    Raises:
        DataError: The data lacks a split or has other classes.
        ModelError: The file cannot be used, is quantized already, or would lose too much.
        ProtocolError: Splits are exchanged, or the model has learned PublicTest.
        TypeError: ``dataset`` is a file, not what was read of it.
        ValueError: ``faces`` is less than 1.
    """
    check_dataset(dataset)
    if faces < 1:
        raise ValueError(f"faces must be at least 1, got {faces}")
    model = Path(model)
    network = _load_float(model)
    predictor = open_predictor(model)
    split = _split_faces(predictor, dataset, override=override_protocol)
    chosen = stratified_share(split.ranges, min(1.0, faces / len(split.ranges)), seed=seed)
    before = ExpressionClassifier(model).metadata
    path = model.with_name(f"{model.stem}-int8.onnx") if path is None else Path(path)
    with atomic_write(path) as temporary:
        _write_int8(network, chosen.images, before, temporary)
        logits = open_predictor(temporary).logits(split.held_out.images)
        parity = _compare(predictor, logits, split.held_out)
        _refuse_loss(parity, most_lost, model)
        facts = {
            **_FORM,
            "float32_sha256": file_sha256(model),
            "split": _RANGES_ON,
            "fingerprint": dataset.fingerprint,
            "faces": len(chosen),
            "seed": seed,
            "breaches": list(split.breaches),
            "parity": {"split": _COMPARED_ON, **parity.to_dict()},
        }
        figures = {"data": dataset.fingerprint, **_figures(logits, split.held_out)}
        metadata = replace(
            before,
            data={**before.data, "quantization": facts},
            metrics={_COMPARED_ON: figures},
        )
        _write_metadata(metadata, temporary)
    return Quantization(
        path=path,
        size_bytes=path.stat().st_size,
        float_bytes=model.stat().st_size,
        parity=parity,
        metadata=metadata,
        breaches=split.breaches,
    )


@dataclass(frozen=True, kw_only=True)
class _Faces:
    """Those that ranges are measured on, those to compare on, and what is wrong with them."""

    ranges: ExpressionDataset
    held_out: ExpressionDataset
    breaches: tuple[str, ...]


def _load_float(model: Path) -> "onnx.ModelProto":
    """Read a float model of mien.

    Raises:
        ModelError: It is none, or is quantized already.
    """
    if model.suffix != ".onnx":
        raise ModelError(f"{model}: name an ONNX file; 'mien export' writes a run as one")
    ExpressionClassifier(model)  # tells what is wrong with a file that is not of mien
    import onnx  # noqa: PLC0415 - slow to import

    network = onnx.load(model)
    if is_quantized(network):
        raise ModelError(f"{model}: is quantized already; name the float32 file it was made of")
    return network


def _split_faces(predictor: Predictor, dataset: ExpressionDataset, *, override: bool) -> _Faces:
    prepared = faces_as_trained(predictor, dataset)
    if prepared.classes != predictor.classes:
        raise DataError(
            f"the model knows {', '.join(predictor.classes)}; the data "
            f"{', '.join(prepared.classes)}"
        )
    ranges, held_out = (prepared.split(name) for name in (_RANGES_ON, _COMPARED_ON))
    for name, part in ((_RANGES_ON, ranges), (_COMPARED_ON, held_out)):
        if not len(part):
            raise DataError(
                f"the data has no {name} faces: ranges are measured on {_RANGES_ON}, and what is "
                f"lost on {_COMPARED_ON}; sort pictures of your own into train/ and val/ folders"
            )
    seen = find_seen(learned_by([predictor], [prepared]), held_out)
    breaches = evaluation_breaches(dataset, _COMPARED_ON, seen)
    return _Faces(
        ranges=ranges, held_out=held_out, breaches=refuse_breaches(breaches, override=override)
    )


def _write_int8(
    network: "onnx.ModelProto",
    images: npt.NDArray[np.uint8],
    metadata: ModelMetadata,
    path: Path,
) -> None:
    """Write a network's int8 form; ranges are those of ``(N, 48, 48)`` faces."""
    from onnxruntime.quantization import (  # noqa: PLC0415 - slow to import
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    # Without this mark, which takes the place of mien's metadata until they are written anew, ONNX
    # Runtime advises to fold normalisation first, as the exporter has done.
    del network.metadata_props[:]
    network.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    quantize_static(
        network,
        path,
        _CalibrationFaces(images, metadata, network.graph.input[0].name),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        # Processors without VNNI add two products in 16 bits. With weights of 7 bits they never
        # overflow, so that the file answers alike everywhere; no accuracy was lost by it.
        reduce_range=True,
        calibrate_method=CalibrationMethod.MinMax,
        # What dense layers give stays float32, for free. In 8 bits logits came in steps of 0.03 and
        # ended at the largest one of the calibration faces: one was off by 1.75, now 0.51 at most.
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    )
    _write_metadata(metadata, path)


class _CalibrationFaces:
    """Batches of standardised faces, as ONNX Runtime asks for them."""

    def __init__(
        self, images: npt.NDArray[np.uint8], metadata: ModelMetadata, input_name: str
    ) -> None:
        self._batches = (
            {input_name: standardise(part, mean=metadata.mean, std=metadata.std)}
            for part in (images[at : at + _BATCH] for at in range(0, len(images), _BATCH))
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """Return the next batch; None after the last."""
        return next(self._batches, None)


def _write_metadata(metadata: ModelMetadata, path: Path) -> None:
    """Replace the metadata of an ONNX file, and check it."""
    import onnx  # noqa: PLC0415

    network = onnx.load(path)
    onnx.helper.set_model_props(network, metadata.to_strings())
    network.producer_name, network.producer_version = "mien", mien.__version__
    onnx.checker.check_model(network, full_check=True)
    onnx.save(network, path)


def _compare(
    predictor: Predictor, logits: npt.NDArray[np.float32], held_out: ExpressionDataset
) -> Parity:
    return measure_parity(
        predictor.logits(held_out.images), logits, held_out.labels, held_out.classes
    )


def _figures(logits: npt.NDArray[np.float32], held_out: ExpressionDataset) -> dict[str, Any]:
    """Return what the int8 form gets right, by the names that an evaluation has for it."""
    return {
        "count": len(held_out),
        "view": "single",
        "version": mien.__version__,
        **classification_metrics(logits, held_out.labels, held_out.classes).to_dict(),
    }


def _refuse_loss(parity: Parity, most_lost: float, model: Path) -> None:
    """Raise :class:`ModelError` where more is lost than allowed, and than chance explains."""
    if parity.lost_points > most_lost and not parity.difference.is_noise:
        raise ModelError(
            f"{model}: int8 loses {parity.lost_points:.2f} points of accuracy on {_COMPARED_ON}, "
            f"more than {most_lost:g}; not written (--most-lost allows more)"
        )
