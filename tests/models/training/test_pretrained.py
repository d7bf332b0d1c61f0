from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.specs import VARIANTS
from models.training.augment import resize
from models.training.errors import WeightsError
from models.training.network import Variant, normalise
from models.training.pretrained import describe, load_trunk, save_trunk, shipped_trunk

WEIGHTS = Path("weights", "mobilenet_v2_0.35_224_imagenet_notop.npz")


def _trunk_means(network: Variant, pixels: Tensor) -> Tensor:
    """Return the trunk's features (N, 112), averaged over the picture."""
    with torch.no_grad():
        parts = [
            network.eval().trunk(normalise(resize(chunk.float(), 96))).mean((2, 3))
            for chunk in torch.split(pixels, 100)
        ]
    return torch.cat(parts)


def _probe_accuracy(features: Tensor, targets: Tensor, train: Tensor) -> float:
    """Return what a linear classifier fitted on the `train` rows gets right on the others."""
    torch.manual_seed(0)
    scaled = (features - features[train].mean(0)) / (features[train].std(0) + 1e-6)
    probe = nn.Linear(features.shape[1], 10)
    optimizer = torch.optim.Adam(probe.parameters(), 0.01, weight_decay=1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(probe(scaled[train]), targets[train])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    right = probe(scaled[~train]).argmax(1) == targets[~train]
    return float(right.float().mean())


@pytest.mark.shared
def test_pretrained_trunk_separates_classes_that_a_random_one_does_not(
    shared: Path,
    cifar10: Callable[[str, int], tuple[np.ndarray, np.ndarray]],
) -> None:
    pixels, labels = cifar10("train", 200)  # 2,000 pictures
    targets = torch.from_numpy(labels)
    train = torch.arange(len(targets)) % 4 != 0  # 1,500 to fit, 500 to ask
    torch.manual_seed(0)
    network = Variant(VARIANTS["V1"], 10)
    random = _probe_accuracy(_trunk_means(network, torch.from_numpy(pixels)), targets, train)
    load_trunk(network, shared / WEIGHTS)
    pretrained = _probe_accuracy(_trunk_means(network, torch.from_numpy(pixels)), targets, train)
    assert pretrained > random + 0.25, f"{pretrained:.3f} against {random:.3f}"


@pytest.mark.shared
def test_every_array_of_the_trunk_comes_from_the_file(shared: Path) -> None:
    network = Variant(VARIANTS["V2"], 10)
    before = {name: tensor.clone() for name, tensor in network.trunk.state_dict().items()}
    load_trunk(network, shared / WEIGHTS)
    for name, tensor in network.trunk.state_dict().items():
        if "num_batches" not in name:
            assert not torch.equal(tensor, before[name]), name


@pytest.mark.shared
def test_weights_of_another_width_are_refused(shared: Path) -> None:
    with pytest.raises(WeightsError, match=r"does not fit width 0\.5"):
        load_trunk(Variant(VARIANTS["Vim1"], 10), shared / WEIGHTS)


def test_missing_foreign_and_incomplete_files_are_refused(tmp_path: Path) -> None:
    network = Variant(VARIANTS["V1"], 10)
    with pytest.raises(WeightsError, match="can't be read as pretrained weights"):
        load_trunk(network, tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(WeightsError, match="can't be read as pretrained weights"):
        load_trunk(network, tmp_path / "text.npz")
    np.savez(tmp_path / "empty.npz", other=np.zeros(3, np.float32))
    with pytest.raises(WeightsError, match="has no array 'Conv1/kernel'"):
        load_trunk(network, tmp_path / "empty.npz")


@pytest.mark.parametrize("name", ["V1", "Vim1"])
def test_a_trunk_that_was_written_is_read_back_to_half_precision(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network, other = Variant(VARIANTS[name], 10), Variant(VARIANTS[name], 3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2.0)
            nn.init.normal_(module.weight)
    file = tmp_path / "trunk.npz"
    save_trunk(network, file)
    load_trunk(other, file)
    for key, tensor in network.trunk.state_dict().items():
        if "num_batches" not in key:
            torch.testing.assert_close(
                other.trunk.state_dict()[key], tensor, rtol=1e-3, atol=1e-3, msg=key
            )
    assert [path.name for path in tmp_path.iterdir()] == ["trunk.npz"]
    with pytest.raises(WeightsError, match="can't be written"):
        save_trunk(network, tmp_path / "missing" / "trunk.npz")


def test_the_trunk_that_ships_is_one_of_its_width() -> None:
    file = shipped_trunk(0.35)
    assert file is not None
    load_trunk(Variant(VARIANTS["V1"], 10), file)
    assert describe(file).startswith("trunk_0.35.npz (SHA-256 ")
    assert shipped_trunk(0.77) is None
