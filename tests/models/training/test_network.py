import pytest
import torch
from torch.nn import functional

from models.specs import VARIANTS, parameters, trainable_parameters
from models.training.network import DeployedVariant, Variant, limit_detail, normalise


@pytest.mark.parametrize("name", ["V1", "V7", "Vim1"])
def test_network_has_the_parameters_that_its_spec_counts(name: str) -> None:
    network = Variant(VARIANTS[name], 101)
    trained = sum(parameter.numel() for parameter in network.parameters())
    stored = trained + sum(
        buffer.numel() for key, buffer in network.named_buffers() if "num_batches" not in key
    )
    assert stored == parameters(VARIANTS[name], 101)
    assert trained == trainable_parameters(VARIANTS[name], 101)


def test_network_halves_its_input_five_times_and_returns_one_logit_a_class() -> None:
    network = Variant(VARIANTS["V1"], 10).eval()
    pictures = torch.zeros(2, 3, 96, 96)
    assert network.trunk(pictures).shape == (2, 112, 3, 3)
    assert network(pictures).shape == (2, 10)


def test_deployed_variant_takes_raw_pixels_and_returns_tempered_probabilities() -> None:
    network = Variant(VARIANTS["V1"], 10).eval()
    pixels = torch.randint(0, 256, (1, 96, 96, 3)).float()
    probabilities = DeployedVariant(network, temperature=2.0)(pixels)
    logits = network(normalise(pixels).permute(0, 3, 1, 2))
    torch.testing.assert_close(probabilities, torch.softmax(logits / 2.0, dim=1))
    assert float(normalise(torch.tensor(0.0))) == -1.0
    assert float(normalise(torch.tensor(255.0))) == 1.0


def test_variants_of_a_width_share_the_shape_of_their_trunk() -> None:
    small, large = Variant(VARIANTS["V1"], 10), Variant(VARIANTS["V7"], 10)
    large.trunk.load_state_dict(small.trunk.state_dict())


@pytest.mark.parametrize(
    ("side", "detail", "limited"),
    [(96, 32, True), (160, 32, True), (96, 48, True), (96, 49, False), (96, 0, False)],
)
def test_detail_is_limited_where_the_input_has_at_least_twice_as_much(
    side: int, detail: int, limited: bool
) -> None:
    stripes = torch.zeros(1, 3, side, side)
    stripes[..., ::2] = 255.0  # as sharp as can be
    seen = limit_detail(stripes, detail)
    assert seen.shape == stripes.shape
    assert torch.equal(seen, stripes) is not limited
    if limited:
        inner = seen[..., side // 4 : -side // 4]
        assert (inner - 127.5).abs().max() < 0.5 * 127.5, "the stripes are gone, or nearly"


@pytest.mark.parametrize("resolution", [96, 128, 160])
def test_a_small_picture_looks_nearly_the_same_whether_detail_is_limited_or_not(
    resolution: int,
) -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 4, 4, generator=generator) * 255
    small = functional.interpolate(coarse, 32, mode="bicubic").clamp(0, 255)
    enlarged = functional.interpolate(small, resolution, mode="bilinear", align_corners=False)
    assert (limit_detail(enlarged, 32) - enlarged).abs().mean() < 2


def test_the_file_limits_detail_as_the_network_does() -> None:
    network = Variant(VARIANTS["V1"], 3, detail=32).eval()
    pixels = torch.rand(2, 96, 96, 3) * 255
    seen = network.see(pixels.permute(0, 3, 1, 2))
    expected = torch.softmax(network(seen), dim=-1)
    torch.testing.assert_close(DeployedVariant(network)(pixels), expected)
