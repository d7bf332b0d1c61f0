import numpy as np
import torch

from models.training.inspection import (
    Confusion,
    confusion_matrix,
    out_of_fold,
    suspects,
    worst_confusions,
)


def test_confusions_are_counted_by_true_class_and_what_it_was_taken_for() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 0]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 0]]
    assert worst_confusions(matrix, 5) == [Confusion(2, 0, 2), Confusion(0, 1, 1)]
    assert worst_confusions(matrix, 1) == [Confusion(2, 0, 2)]
    assert worst_confusions(np.eye(3, dtype=np.int64), 5) == []


def test_a_picture_that_hardly_shows_its_folders_class_is_suspected() -> None:
    probabilities = np.array(
        [[0.9, 0.1], [0.8, 0.2], [0.02, 0.98], [0.1, 0.9], [0.3, 0.7], [0.99, 0.01]]
    )
    found = suspects(probabilities, np.array([0, 0, 0, 1, 1, 1]))
    assert [(one.index, one.given, one.likely) for one in found] == [(5, 1, 0), (2, 0, 1)]
    assert found[0].probability == 0.99


def test_a_class_without_pictures_and_a_hard_class_raise_no_alarm() -> None:
    # Class 1 is never sure of itself: 0.2 is what its pictures get on average.
    probabilities = np.array([[0.6, 0.2, 0.2], [0.6, 0.2, 0.2], [0.9, 0.05, 0.05]])
    assert suspects(probabilities, np.array([1, 1, 0])) == []


def test_pictures_in_the_wrong_folder_are_found_by_what_the_others_show() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(120) % 3
    features = 0.5 * torch.randn(120, 20, generator=generator)
    features[torch.arange(120), targets] += 3.0
    misplaced = [5, 40, 78]
    given = targets.clone()
    given[misplaced] = (targets[misplaced] + 1) % 3
    probabilities = out_of_fold(features, given, 3, seed=1)
    np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-5)
    found = suspects(probabilities, given.numpy())
    assert {one.index for one in found[:3]} == set(misplaced)
    assert all(one.likely == int(targets[one.index]) for one in found[:3])
