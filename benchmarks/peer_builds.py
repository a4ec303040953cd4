"""What a user would build instead: each peer makes its model from the same fp32 ONNX file.

A script of its own, which takes no mlopt, so that a peer may live in an environment of its own:

    python benchmarks/peer_builds.py NAME FP32.onnx CALIBRATION.npz OUT [--transformer]

It writes the model and ``build.json`` into the directory OUT: ``main``, the file to be run, and
``versions``; or ``absent``, the module that is not installed; or ``failed``, the cause.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peer_olive import olive_dynamic, olive_static

RESULT = "build.json"
MAIN = "model.onnx"


class Order(NamedTuple):
    """What a peer is asked for.

    Attributes:
        fp32: The ONNX file.
        calibration: Inputs by name, `.npz`.
        out: Directory for the model.
        transformer: Whether it is one.
    """

    fp32: Path
    calibration: Path
    out: Path
    transformer: bool


Build = Callable[[Order], str]
"""Writes a model; the name of the file to be run."""


def main() -> None:
    """Builds one peer's model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BUILDS)
    parser.add_argument("fp32", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--transformer", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    build, libraries = BUILDS[given.name]
    found: dict[str, Any]
    try:
        file = build(Order(given.fp32, given.calibration, given.out, given.transformer))
        found = {"main": file, "versions": _versions(libraries)}
    except ModuleNotFoundError as e:
        found = {"absent": str(e.name)}
    except Exception as e:  # noqa: BLE001  # whatever a peer raises is the cause that the table states
        traceback.print_exc()
        lines = str(e).strip().splitlines() or [""]
        found = {"failed": f"{type(e).__name__}: {lines[0]}"[:300]}
    (given.out / RESULT).write_text(json.dumps(found), encoding="utf-8")


def rows(calibration: Path) -> Iterator[dict[str, Any]]:
    """Calibration examples, each as a batch of one."""
    with np.load(calibration) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    for i in range(min(map(len, data.values()))):
        yield {name: array[i : i + 1] for name, array in data.items()}


class Reader:
    """What ONNX Runtime's quantizer, which only looks for ``get_next``, reads calibration data from."""

    def __init__(self, calibration: Path) -> None:
        self._rows = rows(calibration)

    def get_next(self) -> dict[str, Any] | None:
        """The next example; None after the last one."""
        return next(self._rows, None)

    def set_range(self, start_index: int, end_index: int) -> None:
        """There is but one range."""


def ort_static(order: Order) -> str:
    """``quantize_static`` with its defaults, after the pre-processing that its page asks for."""
    from onnxruntime.quantization import quantize_static

    with tempfile.TemporaryDirectory() as work:
        prepared = _preprocessed(order, Path(work))
        quantize_static(str(prepared), str(order.out / MAIN), Reader(order.calibration))
    return MAIN


def ort_dynamic(order: Order) -> str:
    """``quantize_dynamic`` with its defaults, after the pre-processing that its page asks for."""
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory() as work:
        quantize_dynamic(str(_preprocessed(order, Path(work))), str(order.out / MAIN))
    return MAIN


def optimum_static(order: Order) -> str:
    """``ORTQuantizer`` with the preset for AVX512-VNNI, calibrated by minimum and maximum."""
    from onnxruntime.quantization import CalibrationMethod
    from optimum.onnxruntime import AutoQuantizationConfig, CalibrationConfig

    config = AutoQuantizationConfig.avx512_vnni(is_static=True, per_channel=True)
    examples = [{name: array[0] for name, array in row.items()} for row in rows(order.calibration)]
    calibration = CalibrationConfig(
        dataset_name="calibration",
        dataset_config_name="",
        dataset_split="calibration",
        dataset_num_samples=len(examples),
        method=CalibrationMethod.MinMax,
    )

    def quantize(quantizer: Any) -> None:
        ranges = quantizer.fit(
            dataset=examples,
            calibration_config=calibration,
            onnx_augmented_model_name=str(quantizer.onnx_model_path.with_name("augmented.onnx")),
            operators_to_quantize=config.operators_to_quantize,
        )
        quantizer.quantize(config, order.out, calibration_tensors_range=ranges)

    return _with_optimum(order, quantize)


def optimum_dynamic(order: Order) -> str:
    """``ORTQuantizer`` with the preset for AVX512-VNNI, as its page on dynamic quantization does."""
    from optimum.onnxruntime import AutoQuantizationConfig

    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)
    return _with_optimum(order, lambda quantizer: quantizer.quantize(config, order.out))


def nncf(order: Order) -> str:
    """``nncf.quantize`` of the OpenVINO model, with its defaults for this type of model."""
    import openvino as ov
    from nncf import Dataset, ModelType, quantize

    model = ov.convert_model(str(order.fp32))
    dataset = Dataset(list(rows(order.calibration)))
    model_type = ModelType.TRANSFORMER if order.transformer else None
    ov.save_model(quantize(model, dataset, model_type=model_type), str(order.out / "model.xml"))
    return "model.xml"


BUILDS: dict[str, tuple[Build, tuple[str, ...]]] = {
    "ort_static": (ort_static, ("onnxruntime",)),
    "ort_dynamic": (ort_dynamic, ("onnxruntime",)),
    "optimum_static": (optimum_static, ("optimum", "optimum-onnx", "onnxruntime")),
    "optimum_dynamic": (optimum_dynamic, ("optimum", "optimum-onnx", "onnxruntime")),
    "olive_static": (olive_static, ("olive-ai", "onnxruntime")),
    "olive_dynamic": (olive_dynamic, ("olive-ai", "onnxruntime")),
    "nncf": (nncf, ("nncf", "openvino")),
}


def _preprocessed(order: Order, work: Path) -> Path:
    """The file with its shapes inferred and its graph optimized, in the directory ``work``."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = work / "prepared.onnx"
    try:
        quant_pre_process(str(order.fp32), str(prepared))
    except Exception:  # noqa: BLE001  # symbolic shapes are beyond it for some transformers
        traceback.print_exc()
        quant_pre_process(str(order.fp32), str(prepared), skip_symbolic_shape=True)
    return prepared


def _with_optimum(order: Order, quantize: Callable[[Any], None]) -> str:
    """Quantizes the file as it is; where that fails, the pre-processed one, which its page leaves out.

    Returns:
        The name of the model's file.
    """
    from optimum.onnxruntime import ORTQuantizer

    with tempfile.TemporaryDirectory() as alone:
        source = Path(alone)
        for file in order.fp32.parent.iterdir():
            if file.suffix in {".onnx", ".data"}:
                shutil.copy(file, source / file.name)
        try:
            quantize(ORTQuantizer.from_pretrained(source, file_name=order.fp32.name))
        except Exception:  # noqa: BLE001  # whatever it is, the other file may do without it
            traceback.print_exc()
            prepared = _preprocessed(order, source)
            quantize(ORTQuantizer.from_pretrained(source, file_name=prepared.name))
    return next(order.out.glob("*.onnx")).name


def _versions(libraries: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
