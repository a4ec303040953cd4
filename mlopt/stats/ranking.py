"""What a holdout can prove of the area under the ROC curve."""

from collections.abc import Sequence

from mlopt.stats.proportions import smallest_provable_drop


def smallest_provable_auroc_drop(class_sizes: Sequence[int], confidence: float = 0.95) -> float:
    """The smallest drop of the AUROC that examples can rule out, even if no ranking changes.

    An example that a candidate answers grossly wrong falls from the top of its class's ranking to
    the bottom, and takes its share of the class with it. So the examples that count are those of
    the rarest class: of n without such a failure, a share of z^2 / (n + z^2) may still fail, as in
    `smallest_provable_drop`. In the macro average over K classes, a failing example of class k is
    one of the n_k positives of its own ranking, and one of the n - n_c negatives of the ranking of
    each other class c. The drop is the largest over k of

        z^2 / (n_k + z^2) * (1 + sum over c != k of n_k / (n - n_c)) / K,

    which for two classes is that of the rarer one. (It is linear in how the failures that may have
    been missed are divided among the classes, to the first order, and so largest where all are of
    one class.)

    Args:
        class_sizes: How many examples each class has; classes without any are left out.
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Raises:
        ValueError: If fewer than two classes have examples, a size is negative, or `confidence` is
            out of range.
    """
    if any(size < 0 for size in class_sizes):
        raise ValueError(f"sizes must be 0 or more, got {list(class_sizes)}")
    sizes = [size for size in class_sizes if size]
    if len(sizes) < 2:
        raise ValueError(f"AUROC compares classes, got sizes {list(class_sizes)}")
    n = sum(sizes)

    def drop(k: int) -> float:
        others = sum(sizes[k] / (n - size) for c, size in enumerate(sizes) if c != k)
        return smallest_provable_drop(sizes[k], confidence) * (1 + others) / len(sizes)

    return max(drop(k) for k in range(len(sizes)))
