"""What SmoothQuant is made of: where it applies, what it measures, what it changes."""

from __future__ import annotations

from pathlib import Path

INSERTED = "smooth_quant/"
"""How the names of inserted nodes begin."""


def inserted_nodes(path: Path) -> list[str]:
    """Names of the nodes that SmoothQuant put into a graph.

    They divide what a quantizer is to see, so it leaves them in float: with 8 bits in front of them,
    the outliers would have set the scale already.
    """
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    return [node.name for node in graph.node if node.name.startswith(INSERTED)]
