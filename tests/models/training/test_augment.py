from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from models.preprocess import resize as node_resize
from models.training.augment import Augmentation, Batch, batch_count, batches, resize

STILL = Augmentation(rotation_degrees=0, shift=0, zoom=0, light=0, mixup_alpha=0)


def _epoch(
    augmentation: Augmentation,
    seed: int = 0,
    size: int = 8,
    draws: tuple[int, ...] = (4, 4, 4, 4, 4),
    first: int = 0,
) -> list[Batch]:
    drawn = torch.Generator().manual_seed(99)
    pixels = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8, generator=drawn)
    generator = torch.Generator().manual_seed(seed)
    drawn_batches = batches(
        pixels, torch.arange(20) % 5, draws, size, augmentation, generator, first=first
    )
    return list(drawn_batches)


def test_an_epoch_draws_every_picture_once_but_for_a_short_remainder() -> None:
    assert [len(batch.targets) for batch in _epoch(STILL, size=8)] == [8, 8, 4]
    assert [len(batch.targets) for batch in _epoch(STILL, size=9)] == [9, 9]
    assert [len(batch.targets) for batch in _epoch(STILL, size=64)] == [20]
    assert batch_count(20, 9) == 2
    assert batch_count(1, 9) == 1


def test_an_epoch_has_of_each_class_as_many_pictures_as_are_drawn() -> None:
    drawn = _epoch(STILL, size=100, draws=(9, 2, 0, 4, 5))
    (batch,) = drawn
    assert batch.targets.sum(0).tolist() == [9, 2, 0, 4, 5]
    of_the_first = batch.pixels[batch.targets[:, 0] == 1].flatten(1)
    # Four pictures for nine draws: none comes a third time before each came twice.
    repeats = Counter(tuple(row) for row in of_the_first.tolist())
    assert sorted(repeats.values()) == [2, 2, 2, 3]


def test_an_epoch_that_goes_on_is_the_rest_of_the_whole_one() -> None:
    whole, rest = _epoch(Augmentation(), seed=3), _epoch(Augmentation(), seed=3, first=1)
    assert len(rest) == len(whole) - 1
    for batch, again in zip(whole[1:], rest, strict=True):
        assert torch.equal(batch.sample(24), again.sample(24))
        assert torch.equal(batch.targets, again.targets)


def test_without_augmentation_pictures_come_out_as_they_are_or_mirrored() -> None:
    for batch in _epoch(STILL):
        sampled = batch.sample(16)
        same = torch.isclose(sampled, batch.pixels, atol=1e-3).flatten(1).all(1)
        mirrored = torch.isclose(sampled, batch.pixels.flip(3), atol=1e-3).flatten(1).all(1)
        assert (same | mirrored).all()
        assert (batch.targets.max(1).values == 1).all()


def test_mixing_keeps_targets_a_distribution_and_the_seed_repeats_everything() -> None:
    mixed = _epoch(Augmentation(), seed=5)
    for batch, again in zip(mixed, _epoch(Augmentation(), seed=5), strict=True):
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(len(batch.targets)))
        assert torch.equal(batch.sample(24), again.sample(24))
    other = _epoch(Augmentation(), seed=6)
    assert not torch.equal(mixed[0].pixels, other[0].pixels)


def test_zoom_and_light_stay_within_their_limits() -> None:
    zoomed = Augmentation(rotation_degrees=0, shift=0, zoom=0.5, light=0, mixup_alpha=0)
    factors = torch.cat([batch.transforms[:, 0, 0].abs() for batch in _epoch(zoomed)])
    assert factors.min() >= 1 / 1.5 - 1e-6
    assert factors.max() <= 1.5 + 1e-6
    assert factors.std() > 0.1
    lit = Augmentation(rotation_degrees=0, shift=0, zoom=0, light=0.3, mixup_alpha=0)
    still, relit = _epoch(STILL), _epoch(lit)
    for plain, other in zip(still, relit, strict=True):
        ratio = other.pixels.mean((1, 2, 3)) / plain.pixels.mean((1, 2, 3))
        assert ((ratio > 0.65) & (ratio < 1.35)).all()  # clamping moves a mean a little
        assert ratio.std() > 0.03
        assert 0 <= other.pixels.min() <= other.pixels.max() <= 255


def test_all_resolutions_see_the_same_turned_picture() -> None:
    pixels = torch.randint(0, 256, (6, 3, 4, 4), dtype=torch.uint8)
    smooth = torch.nn.functional.interpolate(pixels.float(), 32, mode="bicubic").clamp(0, 255)
    generator = torch.Generator().manual_seed(1)
    (batch,) = batches(
        smooth.byte(), torch.zeros(6, dtype=torch.long), (6, 0), 6, Augmentation(), generator
    )
    small, large = batch.sample(24), batch.sample(96)
    assert small.shape == (6, 3, 24, 24)
    assert large.shape == (6, 3, 96, 96)
    assert (resize(large, 24) - small).abs().mean() < 6


@pytest.mark.parametrize(("side", "resolution"), [(32, 96), (32, 32), (200, 96)])
def test_training_resizes_as_nodes_do(side: int, resolution: int) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    picture = coarse.resize((side, side), Image.Resampling.BICUBIC)
    on_node = node_resize(picture, resolution)[0]  # (ρ, ρ, 3), rounded to whole steps by Pillow
    tensor = torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())[None].float()
    in_training = resize(tensor, resolution)[0].permute(1, 2, 0).numpy()
    assert np.abs(on_node - in_training).max() <= 1.0
