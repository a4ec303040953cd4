"""The sample ``digits_bert``: small, safe to load, and read in serving as in training."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from mlopt.errors import DataError
from mlopt.frameworks.huggingface import load_pretrained
from mlopt.project import load_project
from mlopt.sources.contract import ReadLimits, check_overlap, read_split
from mlopt.store.snapshot import Snapshot
from mlopt.types.torch_model import HuggingFace

SAMPLE = Path(__file__).parents[2] / "sample_models" / "digits_bert"
MODULES = ("data", "model", "augmentation")


class Sample(NamedTuple):
    """The sample's modules, and its splits as mlopt reads them."""

    data: Any
    model: Any
    augmentation: Any
    splits: dict[str, Snapshot]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    sys.path.insert(0, str(SAMPLE))
    modules = [importlib.import_module(name) for name in MODULES]
    project, directory, _ = load_project(SAMPLE)
    target = tmp_path_factory.mktemp("splits")
    preprocessor = project.model.preprocessor(directory)
    splits = {}
    for name, source in project.data.items():
        limits = ReadLimits(10_000, 10**8)
        read_split(
            source, name, project.inputs, directory, target / name, limits,
            preprocessor=preprocessor,
        )  # fmt: skip
        splits[name] = Snapshot(target / name)
    yield Sample(*modules, splits)
    sys.path.remove(str(SAMPLE))
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def test_the_directory_is_small_and_holds_no_pickle():
    files = list((SAMPLE / "bert").iterdir())
    assert sum(file.stat().st_size for file in files) <= 5_000_000
    assert {file.suffix for file in files} == {".json", ".safetensors"}


def test_the_splits_have_their_sizes_and_share_nothing_but_calibration(sample: Sample):
    sizes = {name: split.examples for name, split in sample.splits.items()}
    assert sizes == {"calibration": 256, "training": 600, "selection": 297, "holdout": 900}
    check_overlap(sample.splits)
    hashes = {name: set(split.hashes.tolist()) for name, split in sample.splits.items()}
    assert hashes["calibration"] < hashes["training"]
    assert sum(len(hashes[name]) for name in ("training", "selection", "holdout")) == 1797
    with pytest.raises(DataError, match="share"):
        check_overlap({"training": sample.splits["training"], "holdout": sample.splits["training"]})


def test_every_token_stands_at_the_place_of_its_pixel(sample: Sample):
    ids = np.concatenate(
        [s.inputs["input_ids"] for n, s in sample.splits.items() if n != "calibration"]
    )
    assert ids.shape == (1797, sample.model.TOKENS)
    assert (sample.splits["holdout"].inputs["attention_mask"] == 1).all()
    pixels = ids[:, 1:65] - sample.model.FIRST_PIXEL_TOKEN
    known = {tuple(image.astype(int).flat) for image in load_digits().images}
    assert {tuple(row) for row in pixels.tolist()} == known


def test_the_committed_weights_tell_digits_apart(sample: Sample):
    task = HuggingFace(task="text-classification")
    module, unused = load_pretrained(SAMPLE / "bert", task)
    assert unused == []
    selection = sample.splits["selection"]
    inputs = {name: torch.from_numpy(np.array(a)) for name, a in selection.inputs.items()}
    with torch.inference_mode():
        predicted = module(**inputs).logits.argmax(1).numpy()
    assert (predicted == selection.targets).mean() > 0.93


def test_the_student_is_smaller_and_starts_with_what_its_teacher_knows(sample: Sample):
    selection = sample.splits["selection"].take(slice(100))
    inputs = {name: torch.from_numpy(array) for name, array in selection.items()}
    student, fresh = sample.model.build_student().eval(), sample.model.build()
    sizes = [sum(p.numel() for p in module.parameters()) for module in (student, fresh)]
    assert sizes[0] < 0.7 * sizes[1]
    targets = sample.splits["selection"].targets
    assert targets is not None
    with torch.inference_mode():
        predicted = student(**inputs).logits.argmax(1).numpy()
    assert (predicted == targets[:100]).mean() > 0.7


def test_an_augmented_digit_is_a_digit_still(sample: Sample):
    inputs = {k: torch.from_numpy(v) for k, v in sample.splits["training"].take(slice(9)).items()}
    before = inputs["input_ids"].clone()
    torch.manual_seed(1)
    found = sample.augmentation.augment(inputs)
    torch.manual_seed(1)
    assert torch.equal(found["input_ids"], sample.augmentation.augment(inputs)["input_ids"])
    assert torch.equal(inputs["input_ids"], before), "what was given is left alone"
    assert torch.equal(found["attention_mask"], inputs["attention_mask"])
    ids = found["input_ids"]
    assert torch.equal(ids[:, [0, -1]], before[:, [0, -1]])
    pixels = ids[:, 1:65] - sample.model.FIRST_PIXEL_TOKEN
    assert 0 <= int(pixels.min()) < int(pixels.max()) <= sample.model.MAX_PIXEL
    moved = (pixels - (before[:, 1:65] - sample.model.FIRST_PIXEL_TOKEN)).float()
    assert 0 < moved.abs().mean() < 5
