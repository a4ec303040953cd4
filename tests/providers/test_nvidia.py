"""The providers on NVIDIA GPUs, as far as they can be looked at without one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from mlopt.providers import cuda, resolve_provider, tensorrt
from mlopt.providers._nvidia import REMEDY, missing_gpu
from mlopt.serving import Binding
from mlopt.serving.attach import attach, load_cuda

BUILT_IN = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def _gpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if onnxruntime-gpu were installed, with the libraries of TensorRT."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: BUILT_IN)
    monkeypatch.setattr(tensorrt, "find_spec", lambda name: object())


@pytest.mark.parametrize(
    ("name", "options", "binding"),
    [
        ("cuda", {"use_tf32": "0", "enable_cuda_graph": "0"}, None),
        ("cuda-tf32", {"use_tf32": "1", "enable_cuda_graph": "0"}, None),
        (
            "cuda-graphs",
            {"use_tf32": "0", "enable_cuda_graph": "1"},
            Binding("cuda", copies=True, replays=True),
        ),
        ("cuda-device", {"use_tf32": "0", "enable_cuda_graph": "0"}, Binding("cuda")),
        (
            "cuda-device-graphs",
            {"use_tf32": "0", "enable_cuda_graph": "1"},
            Binding("cuda", replays=True),
        ),
    ],
)
def test_a_variant_of_cuda_sets_what_its_name_says(
    name: str, options: dict[str, str], binding: Binding | None
) -> None:
    provider = resolve_provider(name)
    assert provider.options() == options
    assert provider.binding == binding


@pytest.mark.parametrize("name", ["cuda", "cuda-graphs", "cuda-tf32", "tensorrt", "tensorrt-fp16"])
def test_copies_are_timed_unless_the_name_says_device(name: str) -> None:
    binding = resolve_provider(name).binding
    assert binding is None or binding.copies
    assert "copies are timed" in cuda.CudaProvider().about


@pytest.mark.parametrize("name", ["cuda-device", "cuda-device-graphs"])
def test_a_variant_that_leaves_copies_out_says_so_in_its_line(name: str) -> None:
    assert resolve_provider(name).about.endswith("no copy is timed")


def test_tensorrt_leaves_what_it_does_not_take_to_cuda_and_caches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlopt.serving.attach.load_cuda", lambda: None)
    monkeypatch.setattr(tensorrt, "find_spec", lambda name: None)
    for name, fp16, int8 in (("", "0", "0"), ("-fp16", "1", "0"), ("-int8", "1", "1")):
        attached = attach(
            resolve_provider(f"tensorrt{name}").attachment(), onnxruntime.SessionOptions()
        )
        assert attached is not None
        assert [provider for provider, _ in attached] == BUILT_IN
        (_, options), (_, fallback), _ = attached
        assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == (fp16, int8)
        assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "0"
        assert fallback == {"use_tf32": "0"}


@pytest.mark.usefixtures("_gpu_build")
@pytest.mark.parametrize("name", ["cuda", "cuda-graphs", "tensorrt"])
def test_a_build_for_gpus_is_not_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cuda, tensorrt):
        monkeypatch.setattr(module, "missing_gpu", lambda: "there is no GPU.")
    assert resolve_provider(name).unavailable_because() == "there is no GPU."
    for module in (cuda, tensorrt):
        monkeypatch.setattr(module, "missing_gpu", lambda: None)
    assert resolve_provider(name).unavailable_because() is None


@pytest.mark.usefixtures("_gpu_build")
def test_tensorrt_needs_libraries_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "find_spec", lambda name: None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    reason = resolve_provider("tensorrt").unavailable_because()
    assert reason is not None
    assert reason.startswith("the libraries of TensorRT are not installed. ")


def _driver(starts: int, counts: int, gpus: int) -> SimpleNamespace:
    def count(pointer: Any) -> int:
        pointer._obj.value = gpus
        return counts

    return SimpleNamespace(cuInit=lambda flags: starts, cuDeviceGetCount=count)


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (_driver(0, 0, 2), None),
        (_driver(0, 0, 0), "the NVIDIA driver sees no GPU here"),
        (_driver(100, 0, 1), "the NVIDIA driver does not start here"),
        (_driver(0, 3, 1), "the NVIDIA driver does not start here"),
    ],
)
def test_the_driver_says_whether_there_is_a_gpu(
    driver: SimpleNamespace, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: driver)
    assert missing_gpu() == (None if reason is None else f"{reason}. {REMEDY}")


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert missing_gpu() == f"there is no NVIDIA driver here. {REMEDY}"


def test_loading_cuda_keeps_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcublas.so"))
    load_cuda()
    assert capsys.readouterr().out == ""
