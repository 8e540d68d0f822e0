from dataclasses import replace

import numpy as np
import pytest

from mien.data import ExpressionDataset
from mien.data.synthetic import synthetic_faces


@pytest.fixture(scope="session")
def flawed() -> ExpressionDataset:
    """Faces of which Training (images 0 to 79) has copies of all kinds; the rest is held out.

    Image 1 is an exact copy of 0 with another label, 3 and 4 are of 2, of which 4 has another
    label, and 80 (PublicTest) is of 5. Image 6 is nearly 81, brighter, and 8 nearly 9, moved by a
    pixel. Image 7 is of one colour.
    """
    faces = synthetic_faces(100, seed=3, votes=True)
    images, labels = faces.images.copy(), faces.labels.copy()
    images[1], images[3], images[4], images[80] = images[0], images[2], images[2], images[5]
    images[6] = images[81].clip(0, 247) + 8
    images[7] = 200
    images[8] = np.pad(images[9], 1, mode="edge")[:48, 1:49]
    labels[1] = (labels[0] + 1) % 7
    labels[3] = labels[2]
    labels[4] = (labels[2] + 1) % 7
    labels[5] = labels[80]
    labels[8] = labels[9]
    return replace(faces, images=images, labels=labels)
