import numpy as np

from mien.evaluation.samples import surest_samples

PROBABILITIES = np.array(
    [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8], [0.05, 0.95], [0.55, 0.45]]
)


def test_the_surest_come_first_right_and_wrong_apart() -> None:
    first, second = surest_samples(PROBABILITIES, np.array([0, 0, 0, 0, 0, 1]), each=2)

    assert [sample.index for sample in first.right] == [0, 2]
    assert [sample.index for sample in first.wrong] == [4, 3]
    assert (first.wrong[0].label, first.wrong[0].prediction) == (0, 1)
    assert first.wrong[0].confidence == 0.95
    assert second.right == ()
    assert [sample.index for sample in second.wrong] == [5]
