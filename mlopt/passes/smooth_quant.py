"""SmoothQuant: outliers of activations are moved into the weights, and no answer changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from mlopt.errors import BuildError
from mlopt.passes._onnx import EXTERNAL_DATA_FROM_BYTES
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from mlopt.passes._smoothing.places import Place, Product
    from mlopt.passes._smoothing.smoothing import Spread
    from mlopt.passes.int8_static import StreamingReader


class SmoothQuant(Pass):
    """SmoothQuant (Xiao et al., ICML 2023), as a step before any quantizer.

    A few channels of a transformer's activations are many times larger than the rest, and 8 bits for
    all of them leave little to the others. Each channel is divided by a factor, which the rows of the
    weights that read it are multiplied by: the product is the same, and both sides fit 8 bits better.
    The division goes into the scale and bias of the normalization, or into the weights and bias of the
    layer, that makes the activation. That the model still answers the same is checked.

    Attributes:
        alpha: How much of the difficulty goes from the activations to the weights, 0 to 1.
        samples: Most calibration examples.
        insert_mul: Where others read what a normalization makes as well, as behind each block of BERT, a
            node that divides is put before the weights. It costs time at each run.
    """

    name: ClassVar[str] = "smooth_quant"
    summary: ClassVar[str] = "outliers move from activations into weights, answers stay the same"
    consumes: ClassVar[Format] = "onnx"
    produces: ClassVar[Format] = "onnx"
    splits: ClassVar[tuple[str, ...]] = ("calibration", "selection")
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    samples: Annotated[int, Field(gt=0)] = 256
    insert_mul: bool = False

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Finds the places, measures their channels one batch at a time, and moves the factors.

        Raises:
            BuildError: There is no place, or the model answers otherwise afterwards.
        """
        import onnx

        from mlopt.passes._constants import Constants, save_graph
        from mlopt.passes._parity import Compared, check_parity, onnx_answers
        from mlopt.passes._smoothing.places import Surveyor, last_sizes
        from mlopt.passes._smoothing.smoothing import smooth
        from mlopt.passes.int8_static import StreamingReader

        inputs, size = artifact.manifest.inputs, artifact.manifest.size_bytes
        model = onnx.load(str(artifact.main_file))
        constants = Constants(model.graph)
        # Shape inference makes a copy, which protobuf cannot do above 2 GB.
        sizes = last_sizes(model) if size < EXTERNAL_DATA_FROM_BYTES else {}
        surveyor = Surveyor(model.graph, constants, sizes)
        places = surveyor.places(self.insert_mul)
        if not places:
            raise BuildError(_no_place(surveyor.products, model.graph, self.insert_mul))
        reader = StreamingReader(inputs, context, self.samples)
        maxima = _measure(places, artifact, context, reader)
        spreads = [smooth(one, model.graph, constants, maxima, self.alpha) for one in places]
        constants.drop_unused()
        target = context.workspace / "model.onnx"
        save_graph(model, target, size)
        del model
        context.emit("comparing with the model before")
        answers = onnx_answers(artifact.main_file, inputs, context)
        parity = check_parity(target, answers, Compared("the smoothed model", "the one before"))
        facts = {**_facts(places, surveyor.products, spreads), **parity}
        return Draft(
            main="model.onnx",
            inputs=inputs,
            outputs=artifact.manifest.outputs,
            facts={**facts, "calibration_examples": reader.examples},
        )


def _measure(
    places: Sequence[Place], artifact: Artifact, context: PassContext, reader: StreamingReader
) -> dict[str, np.ndarray[Any, Any]]:
    """The largest magnitude of each channel of all activations of ``places``."""
    from mlopt.passes._smoothing.maxima import channel_maxima

    context.emit(f"measuring channels on {reader.examples} examples")
    return channel_maxima(
        artifact.main_file,
        {tensor: place.channels for place in places for tensor in place.tensors},
        iter(reader.get_next, None),
        context.scratch(),
        artifact.manifest.size_bytes,
    )


def _no_place(products: Sequence[Product], graph: onnx.GraphProto, inserting: bool) -> str:
    if not products:
        types = ", ".join(sorted({node.op_type for node in graph.node}))
        return (
            f"no matrix product with constant weights: there is nothing to smooth (it has {types})"
        )
    hint = "" if inserting else ". If so, 'insert_mul: true' puts a node that divides before them"
    return (
        f"none of the {len(products)} products with constant weights can be smoothed: no "
        "normalization or layer makes what they read, or others read it as well, as behind each block "
        f"of BERT{hint}"
    )


def _facts(
    places: Sequence[Place], products: Sequence[Product], spreads: Sequence[Spread]
) -> Mapping[str, Any]:
    """What was smoothed and what was left; the geometric mean of how far channels stand out."""
    from statistics import geometric_mean

    reached = {product.place for place in places for product in place.products}
    left = len(products) - len(reached)
    return {
        "smoothed_products": len(reached),
        **({"products_left_as_they_were": left} if left else {}),
        "divided_in": dict(Counter(place.source or "a new Mul" for place in places)),
        "largest_channel_over_median_before": round(geometric_mean(s.before for s in spreads), 2),
        "largest_channel_over_median_after": round(geometric_mean(s.after for s in spreads), 2),
    }
