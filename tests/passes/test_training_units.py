"""Standard units: the same function, in which a regression learns as fast in any unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_cases import MLP, School, apply

from mlopt.passes._training.carve import carve
from mlopt.passes._training.forward import Respondent
from mlopt.passes._training.material import Material
from mlopt.passes._training.units import Units, units_of
from mlopt.types.passes import SplitArrays

X = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)


def units(module: torch.nn.Module, targets: np.ndarray) -> Units | None:
    arrays = SplitArrays({"x": X}, targets, np.arange(32))
    material = Material(arrays, carve(arrays.hashes, None, 0.0, 0), "regression")
    respondent = Respondent(module.eval(), (), "regression", None, Path())
    return units_of(respondent, material, torch.from_numpy(targets))


def targets(*means: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=(32, len(means))) * 40
    return (noise + np.array(means)).astype(np.float32)


def network(*tail: torch.nn.Module, outputs: int = 1) -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, outputs), *tail
    )


def test_a_module_answers_in_standard_units_inside_and_in_its_own_afterwards() -> None:
    module, wanted = network(outputs=2), targets(150, -3)
    x = torch.from_numpy(X)
    before = module(x)
    found = units(module, wanted)
    assert found is not None
    assert found.layer is module[2]

    found.enter()
    inside = module(x)
    found.leave()

    assert torch.allclose(found.own(inside), before, atol=1e-4)
    assert torch.allclose(found.standard(before), inside, atol=1e-4)
    assert torch.allclose(module(x), before, atol=1e-5)
    standard = found.standard(torch.from_numpy(wanted))
    assert standard.mean(0).abs().max() < 1e-3
    assert 0.7 < standard.std(0).min() < standard.std(0).max() < 1.5


class Shared(torch.nn.Module):
    """Its last layer is also its first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.relu(self.layer(x)))


class Selecting(torch.nn.Module):
    """Answers with a part of what its layer gives, in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).view(-1, 2, 2).transpose(1, 2)


@pytest.mark.parametrize(
    "module",
    [
        network(torch.nn.Softplus()),
        network(torch.nn.ReLU()),
        network(torch.nn.ReLU(inplace=True)),
        network(torch.nn.Hardtanh(-1000, 1000, inplace=True)),
        torch.nn.Sequential(torch.nn.Linear(4, 1, bias=False)),
        network().requires_grad_(False),
        Shared(),
        Selecting(),
    ],
    ids=[
        "softplus",
        "relu",
        "relu in place",
        "in place, without effect",
        "no bias",
        "frozen",
        "shared",
        "reordered",
    ],
)
def test_a_model_whose_answer_is_not_that_of_one_linear_layer_keeps_its_units(
    module: torch.nn.Module,
) -> None:
    assert units(module, targets(150)) is None


@pytest.mark.parametrize("tail", [torch.nn.Flatten(0), torch.nn.Identity()])
def test_reshaping_does_not_matter(tail: torch.nn.Module) -> None:
    found = units(network(tail), targets(150)[:, 0])

    assert found is not None
    assert found.mean.item() == pytest.approx(targets(150).mean(), rel=1e-5)


def test_targets_that_are_all_the_same_have_the_unit_1() -> None:
    found = units(network(), np.full((32, 1), 7, np.float32))

    assert found is not None
    assert found.scale.tolist() == [1.0]


def test_a_regression_ends_alike_in_any_unit(tmp_path: Path) -> None:
    scores = []
    for place, unit in (("one", 1.0), ("other", 1024.0)):
        (tmp_path / place).mkdir()
        values = ((150 + X @ np.array([40, -30, 20, 10])) * unit).astype(np.float32)
        school = School(tmp_path / place, X, values)
        school.says(task="regression", metric="r2")
        code = MLP.replace("outputs=3", "outputs=1").replace("0.1", "0.0")
        training = apply(
            "finetune", school.model(code), school.context(), epochs=20, learning_rate=0.02
        ).facts["training"]
        scores.append([epoch["validation_score"] for epoch in training["epochs"]][-1])

    # The first weights mean another function in another unit, so the two are near, not equal.
    assert scores[0] == pytest.approx(scores[1], abs=0.1)
    assert min(scores) > 0.5
