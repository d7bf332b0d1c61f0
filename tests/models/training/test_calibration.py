import torch

from models.training.calibration import fit_temperature


def test_overconfident_logits_are_cooled_to_their_true_rate() -> None:
    # Of 1,000 pictures, four in five are as the network says, at any stated certainty.
    targets = torch.zeros(1000, dtype=torch.long)
    targets[800:] = 1
    logits = torch.tensor([[8.0, 0.0]]).repeat(1000, 1)
    temperature = fit_temperature(logits, targets)
    confidence = torch.softmax(logits / temperature, 1)[0, 0]
    assert abs(float(confidence) - 0.8) < 0.01


def test_logits_that_mean_what_they_say_keep_their_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=generator) * 2
    targets = torch.multinomial(torch.softmax(logits, 1), 1, generator=generator)[:, 0]
    assert 0.95 < fit_temperature(logits, targets) < 1.05
