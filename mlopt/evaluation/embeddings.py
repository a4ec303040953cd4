"""Feature extraction: a candidate's embeddings against the baseline's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlopt.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def averaged(hidden: Array, mask: Array | None = None) -> Array:
    """The mean over the tokens, as in Reimers & Gurevych, Sentence-BERT (EMNLP 2019).

    Args:
        hidden: Shape (N, T, D).
        mask: Shape (N, T): 0 for a token that is left out; None keeps all.

    Returns:
        Shape (N, D); zeros for an example without any token.
    """
    import numpy as np

    dtype = np.result_type(hidden.dtype, np.float32)
    if mask is None:
        mean: Array = hidden.mean(axis=1, dtype=dtype)
        return mean
    weights = (mask != 0).astype(dtype)
    total = np.einsum("ntd,nt->nd", hidden, weights)
    of_kept: Array = total / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    return of_kept


def cosines(outputs: Array, reference: Array) -> Array:
    """The cosine of each example's two embeddings, shape (N,), in double precision.

    An embedding that is zero agrees with another one that is zero, and with nothing else.

    Args:
        outputs: Shape (N, D), or (N, T, D), which is averaged over all tokens.
        reference: What they are compared with, of the same shape.

    Raises:
        DataError: The shapes differ, or are not these.
    """
    import numpy as np

    if outputs.shape != reference.shape or outputs.ndim not in (2, 3):
        raise DataError(
            f"the embeddings have shape {list(outputs.shape)} and those that they are compared with "
            f"have {list(reference.shape)}: both must be (N, D)."
        )
    ours, theirs = (_unit_vectors(e) for e in (outputs, reference))
    found: Array = (ours * theirs).sum(axis=1)
    both_zero = ~ours.any(axis=1) & ~theirs.any(axis=1)
    return np.where(both_zero, 1.0, found)


def _unit_vectors(embeddings: Array) -> Array:
    import numpy as np

    vectors = embeddings.astype(np.float64)
    if vectors.ndim == 3:
        vectors = averaged(vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Array = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return found
