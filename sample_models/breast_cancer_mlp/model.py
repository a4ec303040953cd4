"""The networks: a multilayer perceptron, and the simplest thing that could replace it."""

from __future__ import annotations

from torch import Tensor, nn

FEATURES = 30
HIDDEN_WIDTHS = (256, 128)
CLASSES = 2


class TumourMLP(nn.Module):
    """Fully connected layers with a ReLU after each but the last.

    Args:
        hidden_widths: outputs of each hidden layer; none leaves a logistic regression.
        features: number of inputs.
        classes: number of logits.
    """

    def __init__(
        self,
        hidden_widths: tuple[int, ...] = HIDDEN_WIDTHS,
        features: int = FEATURES,
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden_widths:
            layers += [nn.Linear(features, width), nn.ReLU()]
            features = width
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Maps standardized features `(N, 30)` to logits `(N, 2)`: benign, malignant."""
        return self.classifier(self.hidden(features))


def build() -> nn.Module:
    """Builds the network with random weights; the trained ones are in `weights.safetensors`."""
    return TumourMLP()


def build_student() -> nn.Module:
    """Builds what the network may teach: a logistic regression of 62 parameters.

    A simpler model usually wins on a table of this size; then it should win by measurement.
    """
    return TumourMLP(hidden_widths=())
