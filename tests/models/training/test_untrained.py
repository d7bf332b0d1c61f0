import numpy as np
import pytest
import torch
from torch import nn

from models.runtime import Classifier
from models.specs import BASELINE, VARIANTS, VariantSpec, macs, parameters, trainable_parameters
from models.training.network import DeployedVariant
from models.training.untrained import MobileNetV2, random_model, random_network


def counted_macs(network: nn.Module, resolution: int) -> int:
    """Return the multiply-accumulates of the convolutions and the last layer that really ran."""
    total = 0

    def count(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        places = output.shape[2] * output.shape[3] if output.ndim == 4 else 1
        total += weight.numel() * places

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, resolution, resolution))
    return total


@pytest.mark.parametrize("spec", [VARIANTS["V1"], VARIANTS["V4"], BASELINE])
def test_what_is_timed_does_the_work_that_is_counted(spec: VariantSpec) -> None:
    network = random_network(spec, 10)
    assert counted_macs(network, spec.resolution) == macs(spec, 10)
    assert sum(one.numel() for one in network.parameters()) == trainable_parameters(spec, 10)


def test_the_baseline_is_the_published_network() -> None:
    network = MobileNetV2(1000)
    stored = [*network.parameters(), *(b for b in network.buffers() if b.ndim)]
    assert sum(one.numel() for one in stored) == parameters(BASELINE, 1000) == 3_538_984
    assert isinstance(network.head, nn.Module)
    features = torch.rand(2, 320, 7, 7)
    expected = network.head.classifier(network.head.features(features).mean((2, 3)))
    torch.testing.assert_close(network.head(features), expected)


def test_activations_have_the_usual_size_to_the_end() -> None:
    network = random_network(VARIANTS["V7"], 10)
    with torch.no_grad():
        features = network.trunk(torch.randn(2, 3, 320, 320))
    assert 0.1 < features.std() < 10


def test_a_seed_makes_the_same_network_and_disturbs_nobody() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same = random_network(VARIANTS["V1"], 10), random_network(VARIANTS["V1"], 10)
    other = random_network(VARIANTS["V1"], 10, seed=1)
    torch.testing.assert_close(torch.rand(3), expected)
    pixels = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(one(pixels), same(pixels))
        assert not torch.allclose(one(pixels), other(pixels))


def test_the_file_of_the_baseline_does_what_the_network_does() -> None:
    classifier = Classifier(random_model(BASELINE, 10))
    assert (classifier.resolution, classifier.class_count) == (224, 10)
    pixels = np.random.default_rng(0).uniform(0, 255, (224, 224, 3)).astype(np.float32)
    deployed = DeployedVariant(random_network(BASELINE, 10))
    with torch.no_grad():
        expected = deployed(torch.from_numpy(pixels)[None])[0].numpy()
    np.testing.assert_allclose(classifier.classify(pixels), expected, atol=1e-4)
