import pytest
import torch

from models.specs import VARIANTS, parameters, trainable_parameters
from models.training.network import DeployedVariant, Variant, normalise


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
