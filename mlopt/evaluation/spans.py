"""Question answering: the span of tokens that answers, from the logits of its two ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlopt.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def best_spans(outputs: Array) -> Array:
    """The span with the largest sum of its two logits among those whose start is not behind the end.

    As in Devlin et al., BERT (NAACL 2019), section 4.2, with no limit on the length. Any token may
    be in it: one of the question is simply a wrong answer, and the first token, which is where
    SQuAD 2.0's "no answer" lies, is a span like any other. Of equal ones, it is the one that ends
    first, and then the one that starts first.

    Args:
        outputs: Logits of the first and of the last token, shape (N, 2, T).

    Returns:
        First and last token, shape (N, 2).
    """
    import numpy as np

    first, last = outputs[:, 0].astype(np.float64), outputs[:, 1].astype(np.float64)
    best_first = np.maximum.accumulate(first, axis=1)
    end = (best_first + last).argmax(axis=1)
    height = np.take_along_axis(best_first, end[:, None], axis=1)
    return np.stack([(first == height).argmax(axis=1), end], axis=1)


def exact_matches(outputs: Array, targets: Array) -> Array:
    """1 for each example whose span is the true one, else 0; shape (N,).

    Args:
        outputs: Shape (N, 2, T).
        targets: True first and last token, shape (N, 2).

    Raises:
        DataError: The shapes do not fit, or a true span does not lie within the T tokens.
    """
    import numpy as np

    _require_fitting(outputs, targets)
    right: Array = (best_spans(outputs) == targets).all(axis=1)
    return right.astype(np.float64)


def overlaps(outputs: Array, targets: Array) -> Array:
    """F1 of the tokens in each example's span against those in the true one, shape (N,).

    Twice the tokens in both over the sum of the two lengths. SQuAD's F1 (Rajpurkar et al., EMNLP
    2016) counts words in the same way, without punctuation and articles.

    Args:
        outputs: Shape (N, 2, T).
        targets: True first and last token, shape (N, 2).

    Raises:
        DataError: The shapes do not fit, or a true span does not lie within the T tokens.
    """
    import numpy as np

    _require_fitting(outputs, targets)
    found, truth = best_spans(outputs), targets.astype(np.int64)
    common = np.minimum(found[:, 1], truth[:, 1]) - np.maximum(found[:, 0], truth[:, 0]) + 1
    lengths = (found[:, 1] - found[:, 0] + 1) + (truth[:, 1] - truth[:, 0] + 1)
    scores: Array = 2 * np.maximum(common, 0) / lengths
    return scores


def _require_fitting(outputs: Array, targets: Array) -> None:
    if outputs.ndim != 3 or outputs.shape[1] != 2 or targets.shape != (len(outputs), 2):
        raise DataError(
            f"the model's two outputs have, stacked, shape {list(outputs.shape)} and the targets "
            f"have {list(targets.shape)}: question answering has logits of shape (N, 2, T) and "
            "targets of shape (N, 2)."
        )
    if targets.size and int(targets.max()) >= outputs.shape[2]:
        raise DataError(
            f"a target is token {int(targets.max())}, and the model sees the tokens 0 to "
            f"{outputs.shape[2] - 1}. Give answers that were cut off the span 0 to 0."
        )
