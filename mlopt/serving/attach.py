"""Prepare a session of ONNX Runtime to run on a provider."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import UnavailableError

if TYPE_CHECKING:
    import onnxruntime as ort

Chosen = list[tuple[str, dict[str, Any]]]

OPENVINO = "OpenVINOExecutionProvider"


class Attachment(NamedTuple):
    """What brings a provider to a session, in values that JSON can carry.

    Attributes:
        providers: What ``InferenceSession`` takes as ``providers``, each a name with its options.
        cuda: Load CUDA and cuDNN first.
        modules: Packages whose import loads libraries, imported before.
        openvino: Kind of OpenVINO's device (``CPU``, ``GPU``) that is added by its plug-in, with
            properties of the device; None: no plug-in.
    """

    providers: tuple[tuple[str, dict[str, Any]], ...] = ()
    cuda: bool = False
    modules: tuple[str, ...] = ()
    openvino: tuple[str, dict[str, str]] | None = None


def attach(to: Attachment, options: ort.SessionOptions) -> Chosen | None:
    """Prepares a session to run there; nodes that the provider cannot take fall back.

    Args:
        to: The provider.
        options: Of the session; a plug-in adds its device to them.

    Returns:
        What ``InferenceSession`` takes as ``providers``; None when ``options`` say it all.

    Raises:
        UnavailableError: The plug-in sees no such device.
    """
    if to.cuda:
        load_cuda()
    for module in to.modules:
        importlib.import_module(module)
    if to.openvino is None:
        return [(name, dict(chosen)) for name, chosen in to.providers]
    kind, properties = to.openvino
    if not (found := openvino_devices(kind)):
        raise UnavailableError(f"OpenVINO sees no {kind} here")
    options.add_provider_for_devices(found[:1], {"load_config": json.dumps({kind: properties})})
    return None


def load_cuda() -> None:
    """Loads CUDA and cuDNN, from NVIDIA's Python packages where these are installed.

    What cannot be loaded is told by the session that needs it, which says more.
    """
    import onnxruntime

    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()


def openvino_devices(kind: str) -> list[ort.OrtEpDevice]:
    """OpenVINO's devices of one kind (``CPU``, ``GPU``); there may be none."""
    import onnxruntime as ort

    _register_openvino()
    wanted = getattr(ort.OrtHardwareDeviceType, kind)
    return [d for d in ort.get_ep_devices() if d.ep_name == OPENVINO and d.device.type == wanted]


@functools.cache
def _register_openvino() -> None:
    """Once a process: a second time is an error, and a plug-in that sees no device looks like none."""
    import onnxruntime as ort
    import onnxruntime_ep_openvino as plugin

    ort.register_execution_provider_library(OPENVINO, plugin.get_library_path())
