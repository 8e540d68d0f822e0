"""Face → aligned grey square → normalised float32: the only definition.

Training, export and analysis all go through this module, so a crop means the same everywhere.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

#: Side in pixels of FER2013's faces and so of every model's input here.
FACE_SIZE: Final = 48


def standardise(
    faces_gray: npt.NDArray[np.uint8], *, mean: float, std: float
) -> npt.NDArray[np.float32]:
    """Scale grey faces to 0..1, subtract ``mean`` and divide by ``std``.

    Args:
        faces_gray: ``(N, H, W)`` grey levels 0 to 255.
        mean: Mean of the training pixels on the scale 0 to 1.
        std: Their standard deviation on that scale.

    Returns:
        ``(N, 1, H, W)`` float32.
    """
    scale, shift = standardise_factors(mean=mean, std=std)
    faces = faces_gray[:, None].astype(np.float32)
    faces *= np.float32(scale)
    faces += np.float32(shift)
    return faces


def standardise_factors(*, mean: float, std: float) -> tuple[float, float]:
    """Return ``(scale, shift)`` such that ``grey_level * scale + shift`` is standardised."""
    if std <= 0:
        raise ValueError(f"std must be positive, got {std}")
    return 1 / (255 * std), -mean / std
