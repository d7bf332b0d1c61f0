"""One stream of augmented pictures that all variants of a family share.

Pictures are drawn, flipped, turned, shifted and mixed once; each variant then samples the same
picture at its own resolution, so what varies between variants is what they see, not the data.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far a picture is changed.

    Attributes:
        rotation_degrees: largest turn to either side.
        shift: largest shift along each axis as a share of the side.
        zoom: largest change of size: a picture is enlarged or shrunk by a factor between
            1 / (1 + zoom) and 1 + zoom.
        light: largest change of brightness and of contrast, as a share of either.
        mixup_alpha: α of MixUp's beta distribution (arXiv 1710.09412); 0 leaves pictures unmixed.
    """

    rotation_degrees: float = 12.0
    shift: float = 0.1
    zoom: float = 0.2
    light: float = 0.2
    mixup_alpha: float = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures to be sampled at any resolution, and the soft classes they show.

    Attributes:
        pixels: shape (B, 3, S, S), RGB 0–255, mixed but not yet turned.
        transforms: shape (B, 2, 3), what `sample` applies.
        targets: shape (B, C), rows sum to 1.
    """

    pixels: Tensor
    transforms: Tensor
    targets: Tensor

    def sample(self, resolution: int) -> Tensor:
        """Return the pictures as (B, 3, resolution, resolution), RGB 0–255."""
        side = self.pixels.shape[-1]
        grid_side = resolution if side <= resolution else side
        grid = functional.affine_grid(
            self.transforms, [len(self.pixels), 3, grid_side, grid_side], align_corners=False
        )
        turned = functional.grid_sample(
            self.pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
        return resize(turned, resolution)

    def to(self, device: str) -> "Batch":
        """Return the batch on that device."""
        return Batch(self.pixels.to(device), self.transforms.to(device), self.targets.to(device))


def batches(
    pixels: Tensor,
    targets: Tensor,
    draws: Sequence[int],
    batch_size: int,
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    first: int = 0,
) -> Iterator[Batch]:
    """Yield one epoch, `batch_count` augmented batches in random order.

    Args:
        pixels: shape (N, 3, S, S), uint8.
        targets: shape (N,).
        draws: shape (C,), how many pictures of each class the epoch has.
        batch_size: B.
        augmentation: how far pictures are changed.
        generator: the only source of randomness, so that a resumed run repeats nothing.
        first: the batch to begin with; those before it are drawn, but not made.
    """
    class_count = len(draws)
    order = _epoch_order(targets, draws, generator)
    chunks = torch.split(order, batch_size)[: batch_count(len(order), batch_size)]
    for number, chosen in enumerate(chunks):
        share, partner = _mixing(len(chosen), augmentation.mixup_alpha, generator)
        transforms = _transforms(len(chosen), augmentation, generator)
        light = _light(len(chosen), augmentation.light, generator)
        if number < first:
            continue
        drawn = _relit(pixels[chosen].float(), light)
        one_hot = functional.one_hot(targets[chosen], class_count).float()  # (B, C)
        if share < 1:
            drawn = drawn.lerp(drawn[partner], 1 - share)
            one_hot = one_hot.lerp(one_hot[partner], 1 - share)
        yield Batch(drawn, transforms, one_hot)


def batch_count(picture_count: int, batch_size: int) -> int:
    """Return how many batches an epoch has: a remainder under half a batch is left out of it.

    A batch of one or two would upset batch normalisation more than it teaches.
    """
    whole, remainder = divmod(picture_count, batch_size)
    return max(1, whole + (2 * remainder >= batch_size))


def resize(pictures: Tensor, resolution: int) -> Tensor:
    """Return pictures (B, 3, S, S) at (B, 3, ρ, ρ), bilinear, antialiased when they shrink.

    This is what Pillow's bilinear filter does, so nodes and training see the same.
    """
    if pictures.shape[-1] == resolution:
        return pictures
    return functional.interpolate(
        pictures,
        size=(resolution, resolution),
        mode="bilinear",
        align_corners=False,
        antialias=pictures.shape[-1] > resolution,
    )


def _epoch_order(targets: Tensor, draws: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return indices of pictures in random order, `draws[c]` of class c.

    A class repeats a picture only after all others of it were drawn.
    """
    parts = []
    for target, wanted in enumerate(draws):
        members = torch.nonzero(targets == target).flatten()
        while wanted > 0 and len(members):
            shuffled = members[torch.randperm(len(members), generator=generator)]
            parts.append(shuffled[:wanted])
            wanted -= len(shuffled)
    order = torch.cat(parts)
    return order[torch.randperm(len(order), generator=generator)]


def _mixing(count: int, alpha: float, generator: torch.Generator) -> tuple[float, Tensor]:
    """Return MixUp's share of each picture that stays, and whom the rest comes from (count,)."""
    if alpha <= 0:
        return 1.0, torch.arange(count)
    # Beta(α, α) as a ratio of gamma draws: torch's own sampler takes no generator.
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        share = float(torch.distributions.Beta(alpha, alpha).sample())
    return share, torch.randperm(count, generator=generator)


def _light(count: int, most: float, generator: torch.Generator) -> Tensor:
    """Return (count, 2): the factor of contrast, and what brightness gains as a share of itself."""
    drawn = (torch.rand(count, 2, generator=generator) * 2 - 1) * most
    return drawn + torch.tensor([1.0, 0.0])


def _relit(pixels: Tensor, light: Tensor) -> Tensor:
    """Return pictures (B, 3, S, S), RGB 0–255, in another light (B, 2)."""
    contrast, brightness = light[:, :, None, None, None].unbind(1)  # (B, 1, 1, 1) each
    mean = pixels.mean((1, 2, 3), keepdim=True)
    return ((pixels - mean) * contrast + mean * (1 + brightness)).clamp(0, 255)


def _transforms(count: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Return (count, 2, 3) affine maps from output to input coordinates, both in [-1, 1]."""
    draws = torch.rand(count, 3, generator=generator) * 2 - 1  # (B, 3) in [-1, 1]
    angle = torch.deg2rad(draws[:, 0] * augmentation.rotation_degrees)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shift = draws[:, 1:] * 2 * augmentation.shift  # the side is 2 long in these coordinates
    reach = math.log1p(augmentation.zoom)
    zoom = torch.exp((torch.rand(count, generator=generator) * 2 - 1) * reach)
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    top = torch.stack([flip * cosine, -sine, shift[:, 0]], dim=1)
    bottom = torch.stack([flip * sine, cosine, shift[:, 1]], dim=1)
    return torch.stack([top, bottom], dim=1)
