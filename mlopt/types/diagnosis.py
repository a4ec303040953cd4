"""Why a model is as fast as it is on one machine and provider: what ``mlopt diagnose`` found."""

from typing import Any, Literal

from mlopt.types.record import Record

Arithmetic = Literal["int8", "float"]
"""What a product multiplies."""

Reason = Literal[
    "model_input",
    "model_output",
    "optimization_level",
    "no_int8_kernel",
    "float_weight",
    "float_input",
    "float_bias",
    "output_not_quantized",
    "float_output",
    "output_read_twice",
    "activation_between",
    "types_differ",
    "signed_activations",
    "other_bits",
    "scale_not_constant",
    "scale_not_scalar",
    "scales_differ",
    "operator_version",
    "unknown",
]
"""Why a QuantizeLinear or DequantizeLinear is still there after the runtime's optimizations."""


class OperatorCost(Record):
    """All nodes of one type on one provider, in one inference.

    Attributes:
        operator: The type that the runtime executes: a fused ``QLinearConv``, not the ``Conv`` of
            the file.
        time_ms: Sum over the nodes of each one's median.
        share: Of the time of all nodes, 0 to 1.
        macs: Multiply-accumulates of its products; None where it is no product.
    """

    operator: str
    provider: str
    nodes: int
    time_ms: float
    share: float
    arithmetic: Arithmetic | None = None
    macs: int | None = None

    @property
    def gmacs_per_s(self) -> float | None:
        """Billions of multiply-accumulates a second; None where they are not known."""
        return _rate(self.macs, self.time_ms)


class NodeCost(Record):
    """One node in one inference.

    Attributes:
        time_ms: The median over the runs.
        share: Of the time of all nodes, 0 to 1.
        bytes_moved: Of its inputs, weights and outputs, each counted once.
        weight_bytes: Of its constant inputs.
        macs: Multiply-accumulates; None where it is no product, or its shapes are not known.
    """

    name: str
    operator: str
    provider: str
    time_ms: float
    share: float
    bytes_moved: int
    weight_bytes: int = 0
    arithmetic: Arithmetic | None = None
    macs: int | None = None

    @property
    def gmacs_per_s(self) -> float | None:
        """Billions of multiply-accumulates a second; None where they are not known."""
        return _rate(self.macs, self.time_ms)

    @property
    def macs_per_byte(self) -> float | None:
        """Arithmetic intensity; None where the node is no product."""
        return self.macs / self.bytes_moved if self.macs and self.bytes_moved else None


class Unfused(Record):
    """QuantizeLinear and DequantizeLinear nodes that run, for one reason, beside one type of operator.

    Attributes:
        operator: The operator that reads or makes the float values; empty at the model's own inputs
            and outputs.
        nodes: Names of the first few such operators.
        count: Number of QuantizeLinear and DequantizeLinear nodes.
        time_ms: What they take in one inference.
        because: The reason in words, and what would change it.
    """

    reason: Reason
    operator: str
    nodes: tuple[str, ...]
    count: int
    time_ms: float
    because: str


class Islands(Record):
    """Float operators between INT8 ones: values are dequantized for them, and quantized again.

    Attributes:
        count: Connected groups of float operators.
        operators: Number of nodes by type, the most frequent first.
        time_ms: Of the float operators, in one inference.
    """

    count: int
    operators: dict[str, int]
    time_ms: float


class FloatOperator(Record):
    """An operator that has no INT8 kernel on this provider."""

    operator: str
    nodes: int
    time_ms: float
    share: float


class Fallback(Record):
    """Nodes of one type that another provider took.

    Attributes:
        nodes: Names of the first few.
    """

    provider: str
    operator: str
    count: int
    nodes: tuple[str, ...]


class Portability(Record):
    """Whether unsigned by signed products can saturate, here and elsewhere.

    On an x86 without VNNI or AMX two neighbouring products are added in 16 bits, and 255 * (w1 + w2)
    leaves them when the weights do not both lie within 64.

    Attributes:
        products: INT8 products.
        unsigned_by_signed: Those of unsigned activations and signed weights.
        can_saturate: Those of them with a weight beyond 64.
        largest_weight: The largest magnitude of their weights; None where there are none.
        exact_here: Whether this processor adds in 32 bits; None where that is not known.
        verdict: What that means, in words.
    """

    products: int
    unsigned_by_signed: int
    can_saturate: int
    largest_weight: int | None
    exact_here: bool | None
    verdict: str


class Peaks(Record):
    """What the machine reaches in a large product, through the same runtime, provider and threads.

    Attributes:
        int8_gmacs_per_s: Billions of 8-bit multiply-accumulates a second; None: not measured.
        float_gmacs_per_s: The same in the provider's own float.
        memory_gb_per_s: Of reading and writing large arrays, 10^9 bytes a second.
        how: How they were measured, or why they were not.
    """

    int8_gmacs_per_s: float | None = None
    float_gmacs_per_s: float | None = None
    memory_gb_per_s: float | None = None
    how: str = ""

    def of(self, arithmetic: Arithmetic | None) -> float | None:
        """The peak of one kind of arithmetic, in billions of multiply-accumulates a second."""
        return {"int8": self.int8_gmacs_per_s, "float": self.float_gmacs_per_s}.get(
            arithmetic or ""
        )


class Advice(Record):
    """What to try next.

    Attributes:
        action: A recipe, a pass, an option or a provider of mlopt by its name.
        because: What was seen that speaks for it.
    """

    action: str
    because: str


class Diagnosis(Record):
    """Why a model is as fast as it is.

    Attributes:
        runner: What executed it.
        settings: Session settings that it ran with.
        runs: Inferences that each median is over.
        p50_ms: Median of one inference without the profiler.
        fastest_ms: The fastest of them.
        profiled_ms: The same with the profiler, which slows it.
        nodes_ms: Sum of the medians of all nodes, under the profiler.
        operators: Where the time goes, most first.
        slowest: The slowest nodes, most first.
        macs: Multiply-accumulates of one inference by their arithmetic, where they are known.
        bytes_moved: Of all nodes, each input, weight and output counted once.
        fused: INT8 operators that the runtime made, by type.
        unfused: What was not fused, most time first.
        without_kernel: Float operators of a quantized model that could not be INT8.
        notes: What a reader should know before trusting the numbers.
    """

    provider: str
    processor: str
    runner: str = "onnxruntime"
    settings: dict[str, Any] = {}
    batch_size: int
    synthetic: bool
    runs: int
    p50_ms: float
    fastest_ms: float
    profiled_ms: float
    nodes_ms: float
    operators: tuple[OperatorCost, ...]
    slowest: tuple[NodeCost, ...]
    macs: dict[Arithmetic, int] = {}
    bytes_moved: int = 0
    fused: dict[str, int] = {}
    unfused: tuple[Unfused, ...] = ()
    islands: Islands | None = None
    without_kernel: tuple[FloatOperator, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    portability: Portability | None = None
    peaks: Peaks = Peaks()
    advice: tuple[Advice, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def gmacs_per_s(self) -> float | None:
        """Billions of multiply-accumulates a second of the whole inference, without the profiler."""
        return _rate(sum(self.macs.values()), self.p50_ms)

    @property
    def int8_peak_share(self) -> float | None:
        """What the whole inference reaches of the INT8 peak, whatever it multiplies; 0 to 1."""
        reached, peak = self.gmacs_per_s, self.peaks.int8_gmacs_per_s
        return None if reached is None or not peak else reached / peak


def _rate(macs: int | None, time_ms: float) -> float | None:
    return macs / time_ms / 1e6 if macs and time_ms > 0 else None
