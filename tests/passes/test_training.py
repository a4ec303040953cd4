"""Fine-tuning: what it leaves behind, the same bits again, and going on after a kill."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
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
from mlopt.passes._training import TrainingOptions, train
from mlopt.pipeline.seal import seal
from mlopt.store.padding import Padding
from mlopt.store.snapshot import SnapshotWriter
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.tensors import TensorSpec

NOISE = """
import numpy as np
import torch

def noise(inputs):
    return {"x": inputs["x"] + 0.1 * torch.randn_like(inputs["x"]) + 0.01 * np.random.normal()}

def other_names(inputs):
    return {"y": inputs["x"]}

def raises(inputs):
    raise ValueError("no such thing")

def returns_nothing(inputs):
    inputs["x"].add_(0)

def returns_a_tensor(inputs):
    return inputs["x"]
"""


@pytest.fixture
def school(tmp_path: Path) -> School:
    made = School(tmp_path, *classified(0, 130))
    (made.bench.project / f"vary_{tmp_path.name}.py").write_text(NOISE)
    return made


def augmentation(school: School, name: str) -> str:
    return f"vary_{school.bench.directory.name}:{name}"


def curve(facts: dict[str, Any], key: str) -> list[float]:
    training = facts["training"]
    return [training["start"][key], *(epoch[key] for epoch in training["epochs"])]


def test_training_makes_the_model_better_and_says_how(school: School) -> None:
    model, context = school.model(), school.context()
    draft = apply("finetune", model, context, epochs=12, learning_rate=0.02, patience=None)

    training = draft.facts["training"]
    scores = curve(draft.facts, "validation_score")
    assert max(scores) > scores[0] + 0.1
    assert [epoch["epoch"] for epoch in training["epochs"]] == list(range(1, 13))
    assert (training["examples"], training["validation_examples"]) == (117, 13)
    assert training["metric"] == "accuracy"
    assert draft.facts["parameters"] == 5 * 16 + 2 * 16 + 17 * 3
    assert draft.facts["macs"] == 4 * 16 + 16 * 3
    assert context.shares == sorted(context.shares)
    assert context.shares[-1] == 1
    assert re.fullmatch(
        r"epoch 12 of 12: loss [\d.]+, validation accuracy [\d.]+%", context.said[-1]
    )


def test_the_same_seed_gives_the_same_bits_and_another_one_gives_others(school: School) -> None:
    model = school.model()
    found = []
    for seed in (0, 0, 1):
        context = school.context(seed)
        apply("finetune", model, context)
        found.append(weights(context))

    assert same_bits(found[0], found[1])
    assert not same_bits(found[0], found[2])


def test_training_leaves_the_generators_and_settings_of_the_process_as_they_were(
    school: School,
) -> None:
    module, model = load_module(school.model(), school.bench.project)
    before = torch.get_rng_state(), torch.get_num_threads(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    options = TrainingOptions(epochs=1, threads=before[1] + 1)
    train(module, school.context(), options, outputs=model.outputs)

    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[2]  # type: ignore[union-attr]
    assert torch.get_num_threads() == before[1]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("killed_at", "options"),
    [
        ("epoch 1 of", {}),
        ("epoch 3 of", {"optimizer": "sgd", "clip": None}),
        ("epoch 4 of", {}),
        ("epoch 3 of", {"schedule": "constant", "learning_rate": 1e-9}),
    ],
    ids=["after the first epoch", "with momentum", "after the last", "where the first is best"],
)
def test_a_training_that_was_killed_goes_on_and_ends_in_the_same_bits(
    school: School, killed_at: str, options: dict[str, Any]
) -> None:
    school.says(augment=augmentation(school, "noise"))
    model = school.model()
    whole, resumed = school.context(), school.context()
    expected = apply("finetune", model, whole, **options)
    resumed.killed_at = killed_at
    with pytest.raises(Killed):
        apply("finetune", model, resumed, **options)
    resumed.killed_at = None

    draft = apply("finetune", model, resumed, **options)

    assert same_bits(weights(whole), weights(resumed))
    facts, others = (dict(d.facts["training"], seconds=0) for d in (draft, expected))
    assert facts == others
    done = int(killed_at.split()[1])
    assert sum(f"epoch {done} of" in message for message in resumed.said) == 2  # said, and gone on
    assert f"going on after epoch {done} of 4" in resumed.said


def test_a_training_that_is_killed_by_the_system_goes_on(school: School, tmp_path: Path) -> None:
    model = school.model()
    whole, killed = school.context(), school.context()
    apply("finetune", model, whole, epochs=6)
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from mlopt.pipeline.tasks import build as task

        def die_after_two(message, done=None):
            if message.startswith("epoch 2 "):
                os.kill(os.getpid(), signal.SIGKILL)

        task.emit = die_after_two
        arguments = eval(sys.argv[1])
        task.build(**arguments)
        """
    )
    arguments = {
        "transformation": "finetune",
        "parameters": {"epochs": 6, "batch_size": 16, "threads": 1},
        "artifact": str(model.directory),
        "workspace": str(killed.workspace),
        "scratch": str(tmp_path),
        "project_dir": str(school.bench.project),
        "snapshots": school.bench.snapshots,
        "seed": 0,
        "teacher": str(model.directory),
        "checkpoints": str(killed.checkpoints),
        "training": school.bench.training.model_dump(mode="json"),
    }
    done = subprocess.run([sys.executable, "-c", script, repr(arguments)], check=False)
    assert done.returncode == -9
    assert list(killed.workspace.iterdir()) == []

    apply("finetune", model, killed, epochs=6)

    assert killed.said[0] == "going on after epoch 2 of 6"
    assert same_bits(weights(whole), weights(killed))


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)


def no_safetensors(file: Path) -> None:
    file.write_bytes(b"nothing of the kind")


def without_notes(file: Path) -> None:
    save_file(load_file(file), file)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, no_safetensors, without_notes])
def test_a_damaged_checkpoint_is_not_used_and_the_training_starts_again(
    school: School, damage: Any
) -> None:
    model = school.model()
    context, whole = school.context(), school.context()
    for each in (context, whole):
        apply("finetune", model, each)
    damage(context.checkpoints / "training.safetensors")
    context.said.clear()

    apply("finetune", model, context)

    assert re.match(r"the checkpoint (is damaged|cannot be read), and is not used", context.said[0])
    assert context.said[1].startswith("epoch 1 of 4")
    assert same_bits(weights(context), weights(whole))


def test_a_checkpoint_of_another_training_is_not_used(school: School) -> None:
    model, context = school.model(), school.context()
    apply("finetune", model, context, learning_rate=0.01)
    context.said.clear()

    apply("finetune", model, context, learning_rate=0.02)

    assert context.said[0] == "the checkpoint is of another training, and is not used"
    assert context.said[1].startswith("epoch 1 of 4")


def test_the_best_epoch_is_kept(school: School) -> None:
    model, context = school.model(), school.context()
    options = {"epochs": 8, "optimizer": "sgd", "learning_rate": 1.0, "schedule": "constant"}
    draft = apply("finetune", model, context, **options)
    training = draft.facts["training"]
    ranks = [
        (-epoch["validation_score"], epoch["validation_loss"], epoch["epoch"])
        for epoch in [training["start"], *training["epochs"]]
    ]
    best = min(ranks)
    assert best[2] == training["best_epoch"] != 8, "the last must not be the best for this to tell"
    seal(context.workspace, draft, "torch", (LineageStep(transformation="finetune"),), "kept")

    kept = apply("finetune", Artifact.open(context.workspace), school.context(), epochs=1)

    start = kept.facts["training"]["start"]
    assert start["validation_score"] == -best[0]
    assert start["validation_loss"] == pytest.approx(best[1], rel=1e-6)


def test_a_model_never_leaves_worse_than_it_came(school: School) -> None:
    model, context = school.model(), school.context()

    draft = apply("finetune", model, context, epochs=2, optimizer="sgd", learning_rate=30.0)

    assert draft.facts["training"]["best_epoch"] == 0
    assert same_bits(weights(context), load_file(model.directory / "weights.safetensors"))


def test_training_stops_when_nothing_gets_better(school: School) -> None:
    draft = apply(
        "finetune", school.model(), school.context(), epochs=30, learning_rate=1e-9, patience=3
    )

    training = draft.facts["training"]
    assert training["stopped_early"]
    assert len(training["epochs"]) < 30


def test_without_a_validation_part_the_last_epoch_is_kept(school: School) -> None:
    training = apply("finetune", school.model(), school.context(), validation_fraction=0).facts[
        "training"
    ]

    assert training["validation_examples"] == 0
    assert training["best_epoch"] == 4
    assert training["epochs"][-1]["validation_score"] is None


def test_a_loss_that_is_no_number_ends_the_training_with_what_to_lower(school: School) -> None:
    with pytest.raises(BuildError, match=r"became (nan|inf) in epoch \d .*lower 'learning_rate'"):
        apply(
            "finetune",
            school.model(MLP.replace("normalised=True", "normalised=False")),
            school.context(),
            optimizer="sgd",
            learning_rate=1e12,
            clip=None,
        )


def test_parameters_that_are_frozen_stay_as_they_are(school: School) -> None:
    frozen = MLP.replace(
        "    return Model(**arguments)",
        "    model = Model(**arguments)\n    model.head.requires_grad_(False)\n    return model",
    )
    model, context = school.model(frozen), school.context()
    before = load_file(model.directory / "weights.safetensors")
    apply("finetune", model, context, validation_fraction=0)

    after = weights(context)
    changed = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    assert changed
    assert not any(name.startswith("head") for name in changed)


TIED = """
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))

def build():
    return Model()
"""


def test_tied_weights_stay_tied(school: School) -> None:
    model = school.model(TIED)
    whole, resumed = school.context(), school.context()
    apply("finetune", model, whole)
    resumed.killed_at = "epoch 2 of"
    with pytest.raises(Killed):
        apply("finetune", model, resumed)
    resumed.killed_at = None
    apply("finetune", model, resumed)

    stored = weights(resumed)
    assert ("first.weight" in stored) != ("second.weight" in stored)
    assert same_bits(stored, weights(whole))


def test_a_last_batch_of_one_is_left_out_where_a_batch_norm_could_not_stand_it(
    school: School,
) -> None:
    # 117 examples are trained on: 116 and one.
    training = apply("finetune", school.model(), school.context(), batch_size=29).facts["training"]

    assert len(training["epochs"]) == 4


def test_a_model_with_a_fixed_batch_trains_on_whole_batches_of_that_size(school: School) -> None:
    insists = MLP.replace(
        "        return self.head",
        "        assert len(x) in (1, 2, 8), len(x)\n        return self.head",
    )
    fixed = (TensorSpec(name="x", dtype="float32", shape=(8, 4)),)
    model = school.bench.source(insists, fixed)

    training = apply("finetune", model, school.context(), learning_rate=0.01).facts["training"]

    assert len(training["epochs"]) == 4


def test_a_model_that_works_in_place_on_its_input_is_trained(school: School) -> None:
    code = MLP.replace("        return self.head", "        x.mul_(0.5)\n        return self.head")
    apply("finetune", school.model(code), school.context(), epochs=1)


@pytest.mark.parametrize(
    ("count", "fixed", "options", "reason"),
    [
        (
            2,
            None,
            {},
            r"has 2 examples, and 1 of them is set aside for validation: a batch has at least 2 "
            r"\(a BatchNorm needs as many\), and 1 is left",
        ),
        (1, None, {}, r"has 1 example, and 0 of them are set aside .* at least 2 .* and 1 is left"),
        (6, 8, {}, r"a batch has at least 8 \(the model's fixed batch size\), and 5 are left"),
        (40, None, {"batch_size": 1}, "'batch_size' is 1, and a model with a BatchNorm .* least 2"),
    ],
)
def test_too_few_examples_for_a_batch_are_refused_with_how_many_it_takes(
    tmp_path: Path, count: int, fixed: int | None, options: dict[str, Any], reason: str
) -> None:
    school = School(tmp_path, *classified(0, 8))
    inputs, targets = classified(0, count)
    shutil.rmtree(tmp_path / "training")
    school.bench.add_split("training", {"x": inputs}, targets)
    shape = (TensorSpec(name="x", dtype="float32", shape=(fixed or "batch", 4)),)

    with pytest.raises(BuildError, match=reason):
        apply("finetune", school.bench.source(MLP, shape), school.context(), **options)


TOKENS = """
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, x, attention_mask):
        return self.head(x[:, :, None])

def build():
    return Model()
"""


def test_the_cost_is_counted_on_the_batch_that_the_source_was_counted_on(tmp_path: Path) -> None:
    school = School(tmp_path, *classified(0, 8))
    padding = Padding(mask="attention_mask", columns=("x", "attention_mask"))
    for split, lengths in (("selection", [3, 5, 7]), ("training", [2, 8, 8, 8])):
        shutil.rmtree(tmp_path / split)
        mask = (np.arange(8) < np.array(lengths)[:, None]).astype(np.int64)
        x = mask.astype(np.float32) + np.arange(len(mask), dtype=np.float32)[:, None]
        with SnapshotWriter(tmp_path / split, padding) as writer:
            writer.append({"x": x, "attention_mask": mask}, np.where(mask, 1, -100))
            writer.finish()
    school.says(task="token_classification", metric="token_accuracy")
    kinds = {"x": "float32", "attention_mask": "int64"}
    inputs = tuple(
        TensorSpec.model_validate({"name": n, "dtype": k, "shape": ("batch", "tokens")})
        for n, k in kinds.items()
    )
    model = school.bench.source(TOKENS, inputs)

    draft = apply("finetune", model, school.context(), epochs=1)

    assert draft.facts["macs"] == 5 * 2  # the longer one of the first two of selection


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            MLP.replace("return self.head", "assert not self.training\n        return self.head"),
            r"forward raised in training mode: AssertionError.*\.py, line 12",
        ),
        (
            MLP.replace("return Model", "return Model(**arguments).requires_grad_(False); Model"),
            "no parameter that can be trained",
        ),
        (MLP.replace("outputs=3", "outputs=2"), "labels from 0 to 2, and the model knows 0 to 1"),
        (
            MLP.replace(
                "return self.head(self.hidden(x))", "return self.head(self.hidden(x))[:, None]"
            ),
            r"the model gives \[1, 3\] for each example and data.training has targets of \[\]",
        ),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(school: School, code: str, reason: str) -> None:
    with pytest.raises(BuildError, match=reason):
        apply("finetune", school.model(code), school.context())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other_names", r"was given x \[16, 4\] torch.float32 and returned y \[16, 4\]"),
        ("returns_nothing", r"' returned None, and not a dict: it is called with a dict of the"),
        ("returns_a_tensor", r"' returned a Tensor, and not a dict"),
        ("raises", r"raised ValueError: no such thing \(vary_.*\.py, line 12\)"),
    ],
)
def test_an_augmentation_that_breaks_its_contract_is_refused(
    school: School, name: str, reason: str
) -> None:
    school.says(augment=augmentation(school, name))
    with pytest.raises(BuildError, match=reason):
        apply("finetune", school.model(), school.context())


def test_a_split_without_targets_is_refused(tmp_path: Path) -> None:
    school = School(tmp_path, classified(0, 40)[0], None)
    with pytest.raises(BuildError, match=r"the training split has no targets"):
        apply("finetune", school.model(), school.context())


def test_features_cannot_be_fine_tuned_without_a_teacher(school: School) -> None:
    school.says(task="feature_extraction", metric="cosine_similarity")
    with pytest.raises(BuildError, match="'distill' lets it learn from a teacher"):
        apply("finetune", school.model(), school.context())
