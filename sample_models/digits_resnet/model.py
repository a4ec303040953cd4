"""The network: a small residual CNN in the CIFAR style of He et al. (2015), section 4.2."""

from __future__ import annotations

from torch import Tensor, nn

CLASSES = 10
STAGE_WIDTHS = (32, 64, 128)
BLOCKS_PER_STAGE = 2
STUDENT_WIDTHS = (24, 48, 96)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution; the output is `stride` times smaller.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        # No bias in a convolution that BatchNorm follows: the mean would subtract it again.
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()

        # A learned projection, not zero-padded channels: padding is tensor surgery in `forward`,
        # which structured pruning cannot follow.
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Maps `(N, in_channels, H, W)` to `(N, out_channels, H / stride, W / stride)`."""
        residual = self.relu1(self.norm1(self.conv1(features)))
        residual = self.norm2(self.conv2(residual))
        return self.relu2(residual + self.shortcut(features))


class DigitsResNet(nn.Module):
    """Residual CNN for single-channel 32x32 images.

    Args:
        stage_widths: channels of each stage; every stage but the first halves the resolution.
        blocks_per_stage: residual blocks in each stage.
        classes: number of logits.
    """

    def __init__(
        self,
        stage_widths: tuple[int, ...] = STAGE_WIDTHS,
        blocks_per_stage: int = BLOCKS_PER_STAGE,
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, stage_widths[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(stage_widths[0]),
            nn.ReLU(),
        )
        stages: list[nn.Module] = []
        channels = stage_widths[0]
        for index, width in enumerate(stage_widths):
            blocks: list[nn.Module] = []
            for position in range(blocks_per_stage):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(ResidualBlock(channels, width, stride))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Maps images `(N, 1, 32, 32)` to logits `(N, 10)`."""
        features = self.stages(self.stem(image))
        return self.classifier(self.flatten(self.pool(features)))


def build() -> nn.Module:
    """Builds the network with random weights; the trained ones are in `weights.safetensors`."""
    return DigitsResNet()


def build_student() -> nn.Module:
    """Builds a network of half the depth and three quarters of the width, for the recipe `distill`."""
    return DigitsResNet(STUDENT_WIDTHS, blocks_per_stage=1)
