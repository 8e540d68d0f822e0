"""Explanations as pictures: heat maps over faces, and the curves of the deletion check."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.cache import atomic_write
from mien.report.chart_style import INK, SOFT, draw_legend, finish_axes, fit_name
from mien.report.page import figure_uri, picture_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mien.evaluation.explanation import ClassMaps, DeletionCheck, FaceExplanation

#: Perceptually even, and told apart in grey as well: dark is low, bright is high.
_COLOURS: Final = "inferno"

#: Share of the heat map's colour in a picture, where its value is lowest and highest: what is
#: little highlighted still shows the face.
_COVER: Final = (0.2, 0.6)

#: Side in pixels that faces are enlarged to.
_SIDE: Final = 240

#: Likewise in a page, whose pictures travel inside it.
_CLASS_SIDE: Final = 180

#: Side in inches of a face in the picture of a photo.
_PANEL: Final = 2.3

#: Faces beyond which two stand side by side in that picture, and three.
_MOST_FACES: Final = (4, 12)

_METHODS: Final = {"grad-cam": "Grad-CAM", "occlusion": "occlusion"}

#: As told apart by the colour-blind; see ``MODEL_COLOURS``.
_CURVES: Final = {
    "highlighted": ("most highlighted first", "#d55e00", "-"),
    "random": ("random areas first", "#888888", "--"),
    "least": ("least highlighted first", "#0072b2", "-."),
}


def overlay_map(
    face_gray: npt.NDArray[np.uint8], values: npt.NDArray[np.floating], *, side: int = _SIDE
) -> npt.NDArray[np.uint8]:
    """Lay a heat map over a face.

    Args:
        face_gray: ``(H, W)`` uint8.
        values: ``(H, W)``, 0 to 1; what is beyond is cut off.
        side: Side in pixels of the result.

    Returns:
        ``(side, side, 3)`` uint8 RGB.
    """
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    ground = _enlarge(face_gray / 255, side)[..., None]
    weights = _enlarge(values, side)
    colours = mpl.colormaps[_COLOURS](weights)[..., :3]
    low, high = _COVER
    cover = (low + (high - low) * weights)[..., None]
    mixed: npt.NDArray[np.float64] = 255 * ((1 - cover) * ground + cover * colours)
    return mixed.round().astype(np.uint8)


def write_explanations(path: Path, explanations: "Sequence[FaceExplanation]") -> None:
    """Draw the faces of a photo with their heat maps as a picture file.

    Args:
        path: The file; its suffix, such as ``.png``, gives the format.
        explanations: At least one.

    Raises:
        OSError: The file cannot be written.
    """
    figure = draw_explanations(explanations)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150)


def draw_explanations(explanations: "Sequence[FaceExplanation]") -> "Figure":
    """Draw each face in turn: the crop that the model saw, and each map over it.

    Few faces have a row each; of many, up to three share one. A map is scaled to its own
    highest value; what speaks against the expression is not shown.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    from mien.evaluation.explanation.saliency import scale_maps  # noqa: PLC0415 - brings torch

    panels = 1 + len(explanations[0].maps)
    # 1, 2 or 3: one for each bound that is passed.
    abreast = sum(len(explanations) > most for most in (0, *_MOST_FACES))
    rows = math.ceil(len(explanations) / abreast)
    figure = Figure(
        figsize=(_PANEL * panels * abreast, 0.75 + (_PANEL + 0.3) * rows),
        layout="constrained",
        facecolor="white",
    )
    heights = [*[_PANEL + 0.3] * rows, 0.2]
    grid = figure.add_gridspec(rows + 1, panels * abreast, height_ratios=heights)
    for number, one in enumerate(explanations):
        row, first = number // abreast, number % abreast * panels
        axes = figure.add_subplot(grid[row, first])
        _show(axes, _enlarge(one.crop_gray / 255, _SIDE))
        axes.set_title(_heading(one, number + 1), loc="left", fontsize=10, color=INK)
        for column, each in enumerate(one.maps, start=first + 1):
            axes = figure.add_subplot(grid[row, column])
            _show(axes, overlay_map(one.crop_gray, scale_maps(each.values[None])[0]))
            axes.set_title(_METHODS[each.method], loc="left", fontsize=10, color=SOFT)
    _draw_scale(figure.add_subplot(grid[rows, :]))
    return figure


def describe_explanation(class_maps: "ClassMaps") -> dict[str, Any]:
    """Return what the fragment ``_explanation.html`` asks for, under the name ``explanation``.

    All classes share one scale, from the lowest to the highest value of their maps.
    """
    drawn = class_maps.maps[np.array(class_maps.counts) > 0]
    lowest, highest = (float(drawn.min()), float(drawn.max())) if len(drawn) else (0.0, 1.0)
    spread = max(highest - lowest, 1e-9)
    return {
        "classes": [
            {
                "name": name,
                "count": count,
                "support": support,
                "face": _class_picture(face, (values - lowest) / spread) if count else None,
            }
            for name, count, support, face, values in zip(
                class_maps.classes,
                class_maps.counts,
                class_maps.support,
                class_maps.mean_faces,
                class_maps.maps,
                strict=True,
            )
        ],
        "scale": figure_uri(draw_scale()),
        "deletion": class_maps.deletion,
        "deletion_chart": figure_uri(deletion_chart(class_maps.deletion)),
    }


def deletion_chart(check: "DeletionCheck") -> "Figure":
    """Draw the mean probability over the share of pixels replaced, a curve for each order."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    shares = [100 * fraction for fraction in check.fractions]
    handles, names = [], []
    for order, (name, colour, style) in _CURVES.items():
        values = getattr(check, order)
        (line,) = axes.plot(shares, values, style, color=colour, marker="o", markersize=3)
        handles.append(line)
        names.append(f"{name} (area {check.areas[order]:.2f})")
    axes.set_ylim(bottom=0)
    finish_axes(axes, x="pixels replaced by blurred ones (%)", y="probability of the reading")
    draw_legend(figure, handles, names)
    return figure


def draw_scale() -> "Figure":
    """Draw the heat map's colours from least to most, as they lie over a mid-grey face."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(4.6, 0.5), layout="constrained")
    _draw_scale(figure.add_subplot())
    return figure


def _class_picture(mean_face: npt.NDArray[np.uint8], values: npt.NDArray[np.float32]) -> str:
    # A mean face is pale: half of the grey levels, or fewer, are in use.
    low, high = int(mean_face.min()), int(mean_face.max())
    clear = (mean_face.astype(np.float32) - low) * (255 / max(high - low, 1))
    return picture_uri(overlay_map(clear.round().astype(np.uint8), values, side=_CLASS_SIDE))


def _draw_scale(axes: "Axes") -> None:
    values = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (128, 1))
    grey = np.full(values.shape, 128, np.uint8)
    axes.imshow(overlay_map(grey, values, side=128), extent=(0, 1, 0, 1), aspect="auto")
    axes.set_yticks([])
    axes.set_xticks([0, 1], ["least", "most"])
    least, most = axes.get_xticklabels()
    least.set_horizontalalignment("left")
    most.set_horizontalalignment("right")
    axes.tick_params(length=0, labelsize=8.5, colors=INK)
    axes.set_xlabel("evidence for the expression", color=SOFT, fontsize=8.5, labelpad=-8)
    axes.spines[:].set_visible(False)


def _heading(one: "FaceExplanation", number: int) -> str:
    explained = f"{number}  {fit_name(one.expression)} {100 * one.probability:.0f} %"
    if one.expression == one.face.expression:
        return explained
    return f"{explained}\nread: {fit_name(one.face.expression)} {100 * one.face.confidence:.0f} %"


def _show(axes: "Axes", picture: npt.NDArray[Any]) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()


def _enlarge(picture: npt.NDArray[np.floating], side: int) -> npt.NDArray[np.float32]:
    """Return an ``(H, W)`` picture of 0 to 1 as a square of ``side``, within 0 to 1."""
    large = Image.fromarray(picture.astype(np.float32)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    return np.asarray(large).clip(0, 1)
