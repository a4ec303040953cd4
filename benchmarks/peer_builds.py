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
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RESULT = "build.json"
MAIN = "model.onnx"
EXAMPLES = 48
"""For calibration, one at a time; the quantizers' own defaults are larger than what there is."""


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
    count = min(EXAMPLES, *(len(array) for array in data.values()))
    for i in range(count):
        yield {name: array[i : i + 1] for name, array in data.items()}


class Reader:
    """What ONNX Runtime's quantizer reads calibration data from."""

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

    prepared = _preprocessed(order)
    quantize_static(str(prepared), str(order.out / MAIN), _ort_reader(order.calibration))
    prepared.unlink()
    return MAIN


def ort_dynamic(order: Order) -> str:
    """``quantize_dynamic`` with its defaults, after the pre-processing that its page asks for."""
    from onnxruntime.quantization import quantize_dynamic

    prepared = _preprocessed(order)
    quantize_dynamic(str(prepared), str(order.out / MAIN))
    prepared.unlink()
    return MAIN


def optimum_static(order: Order) -> str:
    """``ORTQuantizer`` with the preset for AVX512-VNNI, calibrated by minimum and maximum."""
    from onnxruntime.quantization import CalibrationMethod
    from optimum.onnxruntime import AutoQuantizationConfig, CalibrationConfig, ORTQuantizer

    source = _alone(order)
    quantizer = ORTQuantizer.from_pretrained(source, file_name=order.fp32.name)
    config = AutoQuantizationConfig.avx512_vnni(is_static=True, per_channel=True)
    examples = [{name: array[0] for name, array in row.items()} for row in rows(order.calibration)]
    ranges = quantizer.fit(
        dataset=examples,
        calibration_config=CalibrationConfig(
            dataset_name="calibration",
            dataset_config_name="",
            dataset_split="calibration",
            dataset_num_samples=len(examples),
            method=CalibrationMethod.MinMax,
        ),
        onnx_augmented_model_name=str(source / "augmented.onnx"),
        operators_to_quantize=config.operators_to_quantize,
    )
    quantizer.quantize(config, order.out, file_suffix="int8", calibration_tensors_range=ranges)
    return _only(order.out, source)


def optimum_dynamic(order: Order) -> str:
    """``ORTQuantizer`` with the preset for AVX512-VNNI, as its page on dynamic quantization does."""
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    source = _alone(order)
    quantizer = ORTQuantizer.from_pretrained(source, file_name=order.fp32.name)
    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)
    quantizer.quantize(config, order.out, file_suffix="int8")
    return _only(order.out, source)


def olive_static(order: Order) -> str:
    """A workflow of one pass, ``OnnxStaticQuantization``, with its defaults."""
    from olive import run

    config = {
        "input_model": {"type": "OnnxModel", "model_path": str(order.fp32)},
        "data_configs": [
            {
                "name": "calibration",
                "user_script": str(_olive_script(order.out)),
                "load_dataset_config": {"type": "simple_dataset"},
                "dataloader_config": {"type": "peer_reader", "calibration": str(order.calibration)},
            }
        ],
        "passes": {"quantize": {"type": "OnnxStaticQuantization", "data_config": "calibration"}},
        "cache_dir": str(order.out / "cache"),
        "output_dir": str(order.out / "workflow"),
    }
    run(config)
    return _take_output(order.out)


def olive_dynamic(order: Order) -> str:
    """A workflow of one pass, ``OnnxDynamicQuantization``, with its defaults."""
    from olive import run

    config = {
        "input_model": {"type": "OnnxModel", "model_path": str(order.fp32)},
        "passes": {"quantize": {"type": "OnnxDynamicQuantization"}},
        "cache_dir": str(order.out / "cache"),
        "output_dir": str(order.out / "workflow"),
    }
    run(config)
    return _take_output(order.out)


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


def _preprocessed(order: Order) -> Path:
    """Shapes inferred and the graph optimized; the file as it is where that fails."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = order.out / "prepared.onnx"
    try:
        quant_pre_process(str(order.fp32), str(prepared))
    except Exception:  # noqa: BLE001  # symbolic shapes are beyond it for some transformers
        quant_pre_process(str(order.fp32), str(prepared), skip_symbolic_shape=True)
    return prepared


def _ort_reader(calibration: Path) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    reader = Reader(calibration)
    CalibrationDataReader.register(type(reader))
    return reader


def _alone(order: Order) -> Path:
    """A directory in which the fp32 file is the only one."""
    source = order.out / "fp32"
    source.mkdir(exist_ok=True)
    for file in order.fp32.parent.iterdir():
        if file.suffix in {".onnx", ".data"}:
            shutil.copy(file, source / file.name)
    return source


def _only(out: Path, source: Path) -> str:
    """The one model that was written; what it was made of is removed."""
    shutil.rmtree(source)
    return next(out.glob("*.onnx")).name


def _olive_script(out: Path) -> Path:
    """What Olive imports to find the calibration data."""
    script = out / "peer_script.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from olive.data.registry import Registry\n"
        "from onnxruntime.quantization import CalibrationDataReader\n"
        "from peer_builds import Reader\n\n\n"
        "CalibrationDataReader.register(Reader)\n\n\n"
        "@Registry.register_dataloader()\n"
        "def peer_reader(dataset, calibration, **ignored):\n"
        "    return Reader(Path(calibration))\n",
        encoding="utf-8",
    )
    return script


def _take_output(out: Path) -> str:
    """Puts what Olive wrote beside ``build.json``, and removes the rest."""
    written = next((out / "workflow").rglob("*.onnx"))
    for file in written.parent.iterdir():
        if file.suffix in {".onnx", ".data"}:
            shutil.move(str(file), out / file.name)
    for rest in ("workflow", "cache"):
        shutil.rmtree(out / rest, ignore_errors=True)
    return written.name


def _versions(libraries: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
