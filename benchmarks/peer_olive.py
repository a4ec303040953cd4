"""What Olive builds: workflows of one pass, with its defaults."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peer_builds import Order

CALIBRATION = """\
import sys

sys.path.insert(0, {here!r})

from pathlib import Path

from olive.data.registry import Registry
from peer_builds import rows


@Registry.register_dataloader()
def peer_rows(dataset, calibration, **ignored):
    return [(row, None) for row in rows(Path(calibration))]
"""
"""What Olive imports to find the calibration data."""


def olive_static(order: Order) -> str:
    """A workflow of one pass, ``OnnxStaticQuantization``, with its defaults."""
    script = order.out / "peer_script.py"
    here = str(Path(__file__).resolve().parent)
    script.write_text(CALIBRATION.format(here=here), encoding="utf-8")
    data = {
        "name": "calibration",
        "user_script": str(script),
        "load_dataset_config": {"type": "simple_dataset"},
        "dataloader_config": {"type": "peer_rows", "calibration": str(order.calibration)},
    }
    quantize = {"type": "OnnxStaticQuantization", "data_config": "calibration"}
    return _run(order, {"data_configs": [data], "passes": {"quantize": quantize}})


def olive_dynamic(order: Order) -> str:
    """A workflow of one pass, ``OnnxDynamicQuantization``, with its defaults."""
    return _run(order, {"passes": {"quantize": {"type": "OnnxDynamicQuantization"}}})


def _run(order: Order, config: dict[str, Any]) -> str:
    """Runs a workflow, and puts what it wrote beside the record of the build.

    Returns:
        The name of the model's file.

    Raises:
        RuntimeError: It ended without a model.
    """
    from olive import run

    workflow, cache = order.out / "workflow", order.out / "cache"
    run(
        {
            "input_model": {"type": "OnnxModel", "model_path": str(order.fp32)},
            "cache_dir": str(cache),
            "output_dir": str(workflow),
            **config,
        }
    )
    written = next(workflow.rglob("*.onnx"), None)
    if written is None:
        raise RuntimeError("the workflow ended without a model")
    for file in written.parent.iterdir():
        if file.suffix in {".onnx", ".data"}:
            shutil.move(str(file), order.out / file.name)
    for rest in (workflow, cache):
        shutil.rmtree(rest, ignore_errors=True)
    return written.name
