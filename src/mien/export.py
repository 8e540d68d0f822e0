"""Checkpoint → ONNX: the one bridge from training to analysis."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import nn

import mien
from mien.analysis.sessions import open_session
from mien.cache import atomic_write
from mien.data.seen_faces import SeenFaces
from mien.errors import CheckpointError
from mien.evaluation.calibration.model_calibration import (
    figures_at,
    is_calibration_outdated,
    read_calibration,
)
from mien.evaluation.evaluation import FACE_BY_FACE
from mien.metadata import CHOSEN, MEMBERS, ModelMetadata, each_once, file_sha256, model_file
from mien.models.ensemble import EnsembleNet, Member
from mien.preprocess import FACE_SIZE, FER2013_CROP
from mien.training.checkpoint import Checkpoint, load_checkpoint
from mien.training.recipe import Recipe

#: Batches that parity is checked at; the network is traced at neither.
PARITY_BATCHES: Final = (1, 64)

#: Largest difference of a logit that float32 in another order of operations explains.
PARITY_LIMIT: Final = 1e-3

OPSET: Final = 20


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported model.

    Attributes:
        path: The ONNX file.
        size_bytes: Its size.
        parity: Batch size → largest difference of any logit from torch's.
        metadata: What the file carries.
        remarks: What was left out of it, a line each.
    """

    path: Path
    size_bytes: int
    parity: dict[int, float]
    metadata: ModelMetadata = field(repr=False)
    remarks: tuple[str, ...] = ()


def export(
    run: str | Path | Sequence[str | Path],
    path: str | Path | None = None,
    *,
    name: str | None = None,
) -> Export:
    """Write a run's best checkpoint, or several as an ensemble, as a self-contained ONNX file.

    The file takes ``faces`` float32 ``(N, 1, 48, 48)``, standardised, N free, and gives ``logits``
    ``(N, C)``; everything else needed to use it is in its metadata. It is written only when its
    answers are torch's.

    Args:
        run: A run's folder, or a checkpoint. Several are an ensemble: the file's probabilities are
            the mean of theirs.
        path: Where the file goes; by default beside the checkpoint, named as the model is. An
            ensemble's must be given.
        name: What the model is called; by default as its recipe, an ensemble as its file.

    Raises:
        CheckpointError: The run cannot be used, its answers are not numbers, ONNX Runtime's differ
            from torch's, or the runs of an ensemble know different classes or were chosen on
            different faces, or one is repeated.
        ValueError: An ensemble has no path.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [_load(one) for one in runs]
    first = checkpoints[0]
    if len(runs) == 1:
        name = name or first.recipe.name
        path = Path(path or first.path.with_name(f"{name}.onnx"))
        network, metadata = first.build_network(), replace(describe(first), name=name)
    elif path is None:
        raise ValueError("an ensemble is of no run: say where its file goes")
    else:
        path = Path(path)
        network, metadata = _ensemble(checkpoints, name or path.stem)
    with atomic_write(path) as temporary:
        _write_onnx(network, metadata, temporary)
        parity = {batch: _difference(network, temporary, batch) for batch in PARITY_BATCHES}
        if not np.isfinite(list(parity.values())).all():
            raise CheckpointError(
                f"{runs[0]}: its answers are not numbers, as after a training that diverged; not "
                "written"
            )
        if max(parity.values()) > PARITY_LIMIT:
            raise CheckpointError(
                f"{runs[0]}: ONNX Runtime differs from torch by {parity}; not written"
            )
    return Export(
        path=path,
        size_bytes=path.stat().st_size,
        parity=parity,
        metadata=metadata,
        remarks=tuple(line for each in checkpoints for line in _remarks(each, metadata)),
    )


def _load(run: str | Path) -> Checkpoint:
    if model_file(run).suffix == ".onnx":
        raise CheckpointError(
            f"{run}: is an ONNX file already; name the run or checkpoint that it came from"
        )
    if model_file(run).suffix == ".skops":
        raise CheckpointError(
            f"{run}: a scikit-learn model cannot be exported to ONNX by mien; it is measured with "
            f"'mien evaluate'"
        )
    return load_checkpoint(run)


def _remarks(checkpoint: Checkpoint, metadata: ModelMetadata) -> Iterator[str]:
    """Yield what an exported file lacks because its checkpoint or temperature is another one."""
    path = checkpoint.path
    if is_calibration_outdated(path):
        yield (
            f"{path}: the calibration beside it is of another {path.name} and is left out: 'mien "
            f"calibrate' again"
        )
    for split, figures in metadata.metrics.items():
        if "loss" not in figures:
            yield (
                f"{path}: was measured on {split} with another temperature: loss and calibration "
                f"are left out: 'mien evaluate' again"
            )


def _ensemble(checkpoints: Sequence[Checkpoint], name: str) -> tuple[nn.Module, ModelMetadata]:
    """Return several checkpoints' networks as one, and what its file says of them."""
    first = checkpoints[0]
    files = [checkpoint.path.resolve() for checkpoint in checkpoints]
    for other in checkpoints[1:]:
        if files.count(other.path.resolve()) > 1:
            raise CheckpointError(f"{other.path}: is named twice: an ensemble has each run once")
        if other.classes != first.classes:
            raise CheckpointError(
                f"{other.path}: knows {', '.join(other.classes)}, and {first.path} "
                f"{', '.join(first.classes)}: the runs of an ensemble must know the same classes"
            )
        if _measured_on(other) != _measured_on(first):
            raise CheckpointError(
                f"{other.path}: was chosen on other faces than {first.path}: no split could "
                f"measure the ensemble (data, data.validation, data.classes; with data.hold_out, "
                f"data.train, data.clean and seed too)"
            )
    told = [describe(checkpoint) for checkpoint in checkpoints]
    members = [
        Member(network=each.build_network(), mean=of.mean, std=of.std, temperature=of.temperature)
        for each, of in zip(checkpoints, told, strict=True)
    ]
    breaches = dict.fromkeys(breach for each in checkpoints for breach in each.breaches)
    seen = SeenFaces.union(each.seen for each in checkpoints)
    metadata = replace(
        told[0],
        name=name,
        # Of the first recipe what says which faces are for measuring: it is alike for all.
        recipe={key: told[0].recipe[key] for key in ("data", "seed")},
        data={
            **first.data,
            "breaches": list(breaches),
            CHOSEN: each_once(choice for each in checkpoints for choice in each.data[CHOSEN]),
            MEMBERS: [_member_facts(of) for of in told],
        },
        metrics={},
        seen=seen.to_text() if seen else "",
        temperature=1.0,
        uncertain_below=0.0,
    )
    return EnsembleNet(members).eval(), metadata


def _member_facts(metadata: ModelMetadata) -> dict[str, Any]:
    """Return what an ensemble's file says of one of its runs."""
    kept = ("epoch", "calibration")
    facts = {name: metadata.data[name] for name in kept if name in metadata.data}
    return {"recipe": metadata.recipe, **facts}


def _measured_on(checkpoint: Checkpoint) -> tuple[object, ...]:
    """Return what decides which faces a run can be measured on.

    Votes, repairs and another file format give a published split another fingerprint, so that as
    many faces in each class are taken for the same ones, unless all classes have as many.
    """
    recipe, data = checkpoint.recipe, checkpoint.recipe.data
    held_out = (data.hold_out, recipe.seed, data.clean, data.train) if data.hold_out else None
    counts = checkpoint.data.get("counts", {}).get(data.validation, {})
    is_told_by_counts = held_out is None and len(set(counts.values())) > 1
    fingerprint = None if is_told_by_counts else checkpoint.data.get("fingerprint")
    return (data.validation, data.classes, counts, held_out, fingerprint)


def describe(checkpoint: Checkpoint) -> ModelMetadata:
    """Return what an exported file says of a checkpoint.

    Evaluations and a calibration beside it are included where they are of this very file, not of
    an earlier best; of an evaluation, what holds with the calibration's temperature.
    """
    calibration = read_calibration(checkpoint.path)
    metadata = ModelMetadata(
        name=checkpoint.recipe.name,
        classes=checkpoint.classes,
        input_size=FACE_SIZE,
        mean=checkpoint.mean,
        std=checkpoint.std,
        colour="gray",
        crop=FER2013_CROP,
        version=mien.__version__,
        recipe=_without_paths(checkpoint.recipe),
        data={
            **checkpoint.data,
            "epoch": checkpoint.epoch,
            "breaches": list(checkpoint.breaches),
        },
        metrics=_read_metrics(checkpoint, 1.0 if calibration is None else calibration.temperature),
        seen=checkpoint.seen.to_text() if checkpoint.seen else "",
    )
    return metadata if calibration is None else calibration.apply(metadata)


def _read_metrics(checkpoint: Checkpoint, temperature: float) -> dict[str, Any]:
    """Return by split what was measured of a checkpoint and holds with a temperature."""
    metrics: dict[str, Any] = {}
    digest = file_sha256(checkpoint.path)
    for found in sorted(checkpoint.path.parent.glob("evaluation-*.json")):
        try:
            evaluation = json.loads(found.read_text("utf-8"))
            if evaluation["model_sha256"] == digest:
                for bulk in FACE_BY_FACE:
                    evaluation.pop(bulk, None)
                metrics[evaluation.pop("split")] = figures_at(temperature, evaluation)
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{found}: not an evaluation of mien: {error!r}") from error
    return metrics


def _without_paths(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain types, with files by their names only."""
    values = recipe.to_dict()
    values["initial"] = Path(recipe.initial).name
    values["distillation"]["teachers"] = [Path(x).name for x in recipe.distillation.teachers]
    if "weights" in values["model"]:
        values["model"]["weights"] = Path(values["model"]["weights"]).name
    return values


def _write_onnx(network: nn.Module, metadata: ModelMetadata, path: Path) -> None:
    faces = torch.zeros(2, 1, FACE_SIZE, FACE_SIZE)
    program = torch.onnx.export(
        network,
        (faces,),
        input_names=["faces"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        # The exporter leaves stack traces with the paths of the machine that it ran on.
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    del model.metadata_props[:]
    for key, text in metadata.to_strings().items():
        model.metadata_props.add(key=key, value=text)
    model.producer_name, model.producer_version = "mien", mien.__version__
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _difference(network: nn.Module, path: Path, batch: int) -> float:
    """Return the largest difference of a logit between ONNX Runtime and torch."""
    rng = np.random.default_rng(batch)
    faces = rng.standard_normal((batch, 1, FACE_SIZE, FACE_SIZE), dtype=np.float32)
    (ours,) = open_session(path).run(["logits"], {"faces": faces})
    with torch.inference_mode():
        theirs = network(torch.from_numpy(faces)).numpy()
    return float(np.abs(ours - theirs).max())
