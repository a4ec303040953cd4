"""Distillation: who teaches whom, what is asked of the teacher, and every task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_cases import (
    MLP,
    Killed,
    School,
    apply,
    classified,
    same_bits,
    weights,
)

from mlopt.errors import BuildError
from mlopt.frameworks.torch_module import load_module
from mlopt.passes import PASSES
from mlopt.passes._training import course, variations
from mlopt.passes._training import teacher as teaching
from mlopt.passes._training.carve import carve
from mlopt.passes._training.forward import Respondent
from mlopt.passes._training.material import Augmentation, Material
from mlopt.passes._training.variations import Variations
from mlopt.pipeline.seal import seal
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.passes import Brought
from mlopt.workers.usercode import load_object

COUNTED = MLP.replace(
    "    def forward(self, x):", "    def forward(self, x):\n        ASKED.append(len(x))"
)
COUNTED = "ASKED = []\n" + COUNTED

SMALL = {"width": 4}


@pytest.fixture
def school(tmp_path: Path) -> School:
    return with_student(School(tmp_path, *classified(0, 100)))


def with_student(school: School, code: str = MLP, **arguments: Any) -> School:
    """The project names a small student."""
    name = f"small_{school.bench.directory.name}"
    (school.bench.project / f"{name}.py").write_text(code)
    school.says(student={"factory": f"{name}:build", "arguments": {**SMALL, **arguments}})
    return school


def asked(artifact: Artifact, school: School) -> list[int]:
    """Sizes of the batches that a counting model has seen."""
    _, model = load_module(artifact, school.bench.project)
    assert model.factory is not None
    return sys.modules[model.factory.partition(":")[0]].ASKED


def after_a_step(model: Artifact, school: School) -> Artifact:
    """The model as an earlier step left it."""
    context = school.context()
    draft = apply("finetune", model, context, epochs=1)
    lineage = (*model.manifest.lineage, LineageStep(transformation="finetune"))
    seal(context.workspace, draft, "torch", lineage, "fine-tuned")
    return Artifact.open(context.workspace)


def test_a_student_that_the_project_names_learns_from_the_model(school: School) -> None:
    model, context = school.model(outputs=("logits",)), school.context()

    draft = apply("distill", model, context, epochs=8, learning_rate=0.02)

    training = draft.facts["training"]
    assert draft.facts["student"].endswith(":build")
    assert draft.facts["parameters"] == 5 * 4 + 2 * 4 + 5 * 3
    assert draft.outputs == model.manifest.outputs
    assert training["epochs"][-1]["validation_loss"] < training["start"]["validation_loss"] / 2
    assert 0 <= training["teacher_score"] <= 1
    seal(context.workspace, draft, "torch", (LineageStep(transformation="distill"),), "small")
    module, loaded = load_module(Artifact.open(context.workspace), school.bench.project)
    assert loaded.outputs == ("logits",)
    assert module.head.in_features == 4


def test_a_student_that_the_recipe_names_comes_before_that_of_the_project(school: School) -> None:
    name = f"small_{school.bench.directory.name}:build"

    draft = apply(
        "distill", school.model(), school.context(), student=name, student_arguments={"width": 2}
    )

    assert draft.facts["parameters"] == 5 * 2 + 2 * 2 + 3 * 3


@pytest.mark.parametrize(("own", "highest"), [(None, 0.02), (0.003, 0.003)])
def test_a_students_own_learning_rate_comes_before_that_of_the_recipe(
    school: School, own: float | None, highest: float
) -> None:
    student = school.bench.training.student
    assert student is not None
    school.says(student={**student.model_dump(), "learning_rate": own})

    draft = apply(
        "distill",
        school.model(),
        school.context(),
        epochs=1,
        learning_rate=0.02,
        schedule="constant",
    )

    assert draft.facts.get("students_learning_rate") == (own and f"{own:g}")
    assert draft.facts["training"]["epochs"][0]["learning_rate"] == highest


def test_a_students_own_epochs_come_before_those_of_the_recipe(school: School) -> None:
    student = school.bench.training.student
    assert student is not None
    school.says(student={**student.model_dump(), "epochs": 3})

    draft = apply("distill", school.model(), school.context(), epochs=1, learning_rate=0.02)

    assert draft.facts["students_epochs"] == "3"
    assert "students_learning_rate" not in draft.facts
    assert draft.facts["training"]["epochs"][-1]["epoch"] == 3


def test_after_another_step_the_model_of_that_step_learns(school: School) -> None:
    model = school.model()

    draft = apply("distill", after_a_step(model, school), school.context())

    assert draft.facts["student"] == "the model of the step before"
    assert draft.facts["parameters"] == 5 * 16 + 2 * 16 + 17 * 3


def test_a_model_does_not_learn_from_itself(school: School) -> None:
    school.says(student=None)
    distill, torch_only = PASSES["distill"](), Brought("torch", has_student=False)
    reason = distill.inapplicable((), torch_only)

    assert reason is not None
    assert "mlopt.yaml names no 'student'" in reason
    assert distill.inapplicable(("prune_channels",), torch_only) is None
    assert distill.inapplicable((), Brought("torch", has_student=True)) is None
    assert PASSES["distill"](student="m:f").inapplicable((), torch_only) is None
    assert PASSES["finetune"]().inapplicable((), torch_only) is None
    with pytest.raises(BuildError, match="names no 'student'"):
        apply("distill", school.model(), school.context())


def test_the_teacher_is_asked_once_for_each_example_where_nothing_varies(school: School) -> None:
    model, context = school.model(COUNTED), school.context()
    seen = asked(model, school)
    seen.clear()

    apply("distill", model, context, validation_fraction=0.1)

    # The student's outputs are compared with the teacher's on two examples.
    assert sum(seen) == 100 + 2
    seen.clear()
    apply("distill", model, context)
    assert sum(seen) == 2, "its answers were kept"


def test_the_teacher_sees_the_examples_as_they_are_varied(school: School) -> None:
    name = f"vary_{school.bench.directory.name}"
    (school.bench.project / f"{name}.py").write_text(
        "SUMS = []\ndef shift(inputs):\n"
        "    SUMS.append(len(inputs['x']))\n    return {'x': inputs['x'] + 1}\n"
    )
    school.says(augment=f"{name}:shift")
    model = school.model(COUNTED)
    seen = asked(model, school)
    seen.clear()

    training = apply("distill", model, school.context()).facts["training"]

    # Each epoch anew, the validation part once, and two for the student's outputs to be compared.
    assert sum(sys.modules[name].SUMS) == 4 * training["examples"]
    assert sum(seen) == 4 * training["examples"] + training["validation_examples"] + 2


def test_answers_that_would_be_too_large_are_not_kept_and_teach_the_same(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = school.model()
    kept, computed = school.context(), school.context()
    apply("distill", model, kept)
    monkeypatch.setattr(teaching, "CACHE_BYTES", 100)

    apply("distill", model, computed)

    assert list(kept.checkpoints.glob("teacher-*.npy"))
    assert not list(computed.checkpoints.glob("*teacher-*"))
    ours, others = weights(kept), weights(computed)
    for name in ours:
        assert ours[name] == pytest.approx(others[name], abs=0.01)


@pytest.mark.parametrize("rest", [b"", b"cut short"])
def test_a_distillation_that_was_killed_goes_on_and_ends_in_the_same_bits(
    school: School, rest: bytes
) -> None:
    model = school.model()
    whole, resumed = school.context(), school.context()
    apply("distill", model, whole)
    resumed.killed_at = "epoch 2 of"
    with pytest.raises(Killed):
        apply("distill", model, resumed)
    resumed.killed_at = None
    if rest:  # the disk lost the end of what the teacher said
        (answers,) = resumed.checkpoints.glob("teacher-*.npy")
        answers.write_bytes(rest)

    apply("distill", model, resumed)

    assert same_bits(weights(whole), weights(resumed))


NOISE = """
import torch

CALLS = []

def noise(inputs):
    CALLS.append(len(inputs["x"]))
    return {"x": inputs["x"] + torch.randn_like(inputs["x"])}
"""


def noisy(school: School) -> list[int]:
    """The project varies its examples at random; the sizes of the batches that it is given."""
    name = f"noise_{school.bench.directory.name}"
    (school.bench.project / f"{name}.py").write_text(NOISE)
    school.says(augment=f"{name}:noise")
    school.model()
    load_object(f"{name}:noise", school.bench.project, "augment")
    return sys.modules[name].CALLS


def test_the_teacher_is_asked_once_about_each_variation_that_is_kept(school: School) -> None:
    varied = noisy(school)
    model = school.model(COUNTED)
    seen = asked(model, school)
    seen.clear()
    varied.clear()

    training = apply("distill", model, school.context(), variations=3).facts["training"]

    assert len(training["epochs"]) == 4
    assert sum(varied) == 3 * training["examples"]
    assert sum(seen) == 3 * training["examples"] + training["validation_examples"] + 2


def test_as_many_variations_as_epochs_need_not_be_kept(school: School) -> None:
    noisy(school)
    model = school.model()
    kept, anew = school.context(), school.context()

    apply("distill", model, kept, variations=4)
    apply("distill", model, anew)

    assert not list(kept.checkpoints.glob("variation-*"))
    assert same_bits(weights(kept), weights(anew))


def test_variations_that_would_be_too_large_are_new_in_each_epoch(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy(school)
    model = school.model()
    kept, anew = school.context(), school.context()
    monkeypatch.setattr(course, "CACHE_BYTES", 3 * 90 * (4 + 3) * 4 - 1)

    apply("distill", model, kept, variations=3)
    apply("distill", model, anew)

    assert "3 variations of 90 examples are too large to keep" in kept.said
    assert same_bits(weights(kept), weights(anew))


@pytest.mark.parametrize("when", ["epoch 1 of", "epoch 2 of", "epoch 4 of"])
@pytest.mark.parametrize("rest", [None, b"", b"cut short"])
def test_a_distillation_with_variations_that_was_killed_ends_in_the_same_bits(
    school: School, when: str, rest: bytes | None
) -> None:
    noisy(school)
    model = school.model()
    whole, resumed = school.context(), school.context()
    apply("distill", model, whole, variations=2)
    resumed.killed_at = when
    with pytest.raises(Killed):
        apply("distill", model, resumed, variations=2)
    resumed.killed_at = None
    if rest is not None:  # the disk lost the end of a file
        answers = next(resumed.checkpoints.glob("variation-*/answers.npy"))
        answers.write_bytes(rest)

    apply("distill", model, resumed, variations=2)

    assert same_bits(weights(whole), weights(resumed))


@pytest.mark.parametrize("fixed", [None, 16])
def test_kept_answers_are_those_to_the_inputs_beside_them(
    school: School, monkeypatch: pytest.MonkeyPatch, fixed: int | None
) -> None:
    noisy(school)
    arrays = school.bench.context(0).arrays("training")
    parts = carve(arrays.hashes, arrays.targets, 0.1, 0)
    material = Material(arrays, parts, "classification")
    doubled = Respondent(Double(), (), "classification", fixed, school.bench.project)
    augment = Augmentation(str(school.bench.training.augment), school.bench.project)
    monkeypatch.setattr(variations, "ASKED", 32)
    kept = Variations(
        2, augment, doubled, material, school.context().checkpoints, "x", 0, lambda _: None
    )
    rows = parts.training[[40, 3, 77]]
    seen = []
    for epoch in (1, 2, 3):
        kept.prepare(epoch)
        inputs, answers = kept.batch(rows)
        assert torch.equal(answers, 2 * inputs["x"])
        noise = inputs["x"] - torch.from_numpy(arrays.inputs["x"][rows])
        assert 0.3 < float(noise.std()) < 3, "the rows are those that were asked for"
        seen.append(inputs["x"])

    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


class Double(torch.nn.Module):
    """Answers twice its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def straight(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A value around 150 that depends on all four inputs."""
    inputs = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return inputs, (150 + inputs @ np.array([40, -30, 20, 10])).astype(np.float32)


def test_a_regression_is_distilled_into_a_student_that_starts_far_from_its_targets(
    tmp_path: Path,
) -> None:
    school = School(tmp_path, *straight(0, 200))
    school.says(task="regression", metric="r2")
    with_student(school, outputs=1, width=8)
    model, context = school.model(MLP.replace("outputs=3", "outputs=1")), school.context()
    options = {"epochs": 20, "learning_rate": 0.02, "patience": None}
    taught = apply("finetune", model, context, **options)
    source = (LineageStep(transformation="source"),)
    seal(context.workspace, taught, "torch", source, "taught")
    school.bench.teacher = Artifact.open(context.workspace)

    draft = apply("distill", school.bench.teacher, school.context(), **options)

    training = draft.facts["training"]
    assert training["teacher_score"] > 0.8
    assert training["start"]["validation_score"] < -1
    assert training["epochs"][training["best_epoch"] - 1]["validation_score"] > 0.7


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            MLP.replace("outputs=3", "outputs=2"),
            r"gives output \[2, 2\], and its teacher output \[2, 3\]",
        ),
        (MLP.replace("nn.Linear(4,", "nn.Linear(5,"), "does not take the inputs of its teacher"),
        (MLP.replace("return self.head(", "return str("), "the model returned a str"),
    ],
)
def test_a_student_that_does_not_fit_its_teacher_is_refused(
    school: School, code: str, reason: str
) -> None:
    with_student(school, code)
    with pytest.raises(BuildError, match=reason):
        apply("distill", school.model(), school.context())


def test_a_split_without_targets_teaches_by_the_teacher_alone(tmp_path: Path) -> None:
    school = with_student(School(tmp_path, classified(0, 60)[0], None))
    model = school.model()

    training = apply("distill", model, school.context(), alpha=1.0).facts["training"]

    assert training["teacher_score"] is None
    assert training["epochs"][-1]["loss"] < training["epochs"][0]["loss"]
    with pytest.raises(BuildError, match=r"has no targets.*set 'alpha' to 1"):
        apply("distill", model, school.context())


def test_a_student_that_would_load_with_other_random_tensors_is_refused(school: School) -> None:
    random = MLP.replace("from torch import nn", "import torch\nfrom torch import nn")
    random = random.replace(
        "        self.head",
        "        self.register_buffer('mix', torch.rand(width), persistent=False)\n        self.head",
        1,
    ).replace("self.hidden(x))", "self.hidden(x) * self.mix)")
    with_student(school, random)
    with pytest.raises(
        BuildError, match=r"'output' when it is loaded again: .* as a persistent buffer"
    ):
        apply("distill", school.model(), school.context(), epochs=1)

    with_student(school, random.replace(", persistent=False", ""))
    sys.modules.pop(f"small_{school.bench.directory.name}", None)
    apply("distill", school.model(), school.context(), epochs=1)


def test_a_teacher_that_works_in_place_does_not_change_what_the_student_sees(
    tmp_path: Path,
) -> None:
    found = []
    for place, forward in (("kept", "x = x * 0"), ("inplace", "x.mul_(0)")):
        (tmp_path / place).mkdir()
        school = with_student(School(tmp_path / place, *classified(0, 60)))
        name = f"same_{place}_{tmp_path.name}"
        (school.bench.project / f"{name}.py").write_text("def same(inputs):\n    return inputs\n")
        school.says(augment=f"{name}:same")
        line = "        return self.head"
        model = school.model(MLP.replace(line, f"        {forward}\n{line}"))
        context = school.context()
        apply("distill", model, context, epochs=2)
        found.append(weights(context))

    assert same_bits(*found)


HEADS = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.hidden = nn.Linear(1, width)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        hidden = torch.tanh(self.hidden(x[:, :, None]))
        y = self.head(hidden)
        return RETURNED

def build(**arguments):
    return Model(**arguments)
"""

TASKS = {
    "token_classification": ("token_accuracy", "y", lambda x: np.where(x > 2, -100, x > 0)),
    "question_answering": (
        "exact_match",
        "{'start': y[:, :, 0], 'end': y[:, :, 1]}",
        lambda x: np.stack([x.argmin(1), x.argmax(1)], 1),
    ),
    "feature_extraction": ("cosine_similarity", "y", None),
    "classification": ("accuracy", "y.mean(1)[:, :1]", lambda x: x.sum(1) > 0),
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_distilled(tmp_path: Path, task: str) -> None:
    metric, returned, truth = TASKS[task]
    inputs = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    targets = None if truth is None else truth(inputs).astype(np.int64)
    school = School(tmp_path, inputs, targets)
    school.says(task=task, metric=metric)
    code = HEADS.replace("RETURNED", returned)
    with_student(school, code)
    options = {"epochs": 6, "learning_rate": 0.02, "alpha": 0.5}

    training = apply("distill", school.model(code), school.context(), **options).facts["training"]

    assert training["epochs"][-1]["loss"] < training["epochs"][0]["loss"]
    assert training["epochs"][-1]["validation_loss"] < training["start"]["validation_loss"]
    assert training["epochs"][-1]["validation_score"] is not None
    if task == "feature_extraction":
        assert training["teacher_score"] == pytest.approx(1)
