"""Small models, each with something in it that pruning must follow or leave alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 5
WIDTH = 32


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
    )


class Residual(nn.Module):
    """Two stages, the second behind a learned projection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(1, 16)
        self.a1, self.a2 = conv(16, 16), conv(16, 16)
        self.b1, self.b2, self.shortcut = conv(16, 32, 2), conv(32, 32), conv(16, 32, 2)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image).relu()
        x = (x + self.a2(self.a1(x).relu())).relu()
        x = (self.shortcut(x) + self.b2(self.b1(x).relu())).relu()
        return self.head(x.mean((2, 3)))


class PaddedShortcut(Residual):
    """The parameter-free shortcut of He et al. (2015), section 4.2, option A."""

    before = 8

    def __init__(self) -> None:
        super().__init__()
        self.shortcut = nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image).relu()
        x = (x + self.a2(self.a1(x).relu())).relu()
        padding = (0, 0, 0, 0, self.before, 16 - self.before)
        x = (functional.pad(x[:, :, ::2, ::2], padding) + self.b2(self.b1(x).relu())).relu()
        return self.head(x.mean((2, 3)))


class Inverted(nn.Module):
    """Inverted residuals around depthwise convolutions, as in MobileNetV2."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(16, 64, 1, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU6(),
                nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU6(),
                nn.Conv2d(64, 16, 1, bias=False),
                nn.BatchNorm2d(16),
            )
            for _ in range(2)
        )
        self.head = nn.Linear(16, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean((2, 3)))


class Dense(nn.Module):
    """Concatenated features, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(1, 16), conv(16, 16), conv(32, 16)
        self.norm = nn.BatchNorm2d(48)
        self.head = nn.Linear(48 * 64, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.a(image).relu()
        x = torch.cat([x, self.b(x).relu()], 1)
        x = torch.cat([x, self.c(x).relu()], 1)
        return self.head(self.norm(x).flatten(1))


class GroupNormed(nn.Module):
    """Residual with GroupNorm; whole groups can go."""

    groups = 4

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.n1, self.n2 = nn.GroupNorm(self.groups, 32), nn.GroupNorm(self.groups, 32)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.n1(self.a(image)).relu()
        return self.head((x + self.n2(self.b(x))).mean((2, 3)))


class OneGroup(GroupNormed):
    """As over all channels at once: nothing of the residual stream can go."""

    groups = 1


class Grouped(nn.Module):
    """A convolution in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.g = nn.Conv2d(1, 64, 1), nn.Conv2d(64, 64, 3, padding=1, groups=4)
        self.b, self.head = nn.Conv2d(64, 32, 1), nn.Linear(32, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.b(self.g(self.a(image).relu()).relu()).mean((2, 3)))


class Moved(nn.Module):
    """Channels that change places between two layers; the shapes fit whatever is removed."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.a, self.b = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.a(image).relu()
        if self.how == "shuffle":
            n, c, h, w = x.shape
            x = x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)
        elif self.how == "softmax":
            x = x.softmax(1)
        else:
            x = x.flip(1) if self.how == "flip" else x.roll(3, 1)
        return self.head(self.b(x).relu().mean((2, 3)))


class HardCoded(nn.Module):
    """A number of channels written into forward."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.c, self.head = nn.Linear(16 * 64, 32), nn.Linear(32, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.b(self.a(image).relu()).relu()
        return self.head(self.c(x.reshape(-1, 16 * 64)).relu())


class Mlp(nn.Module):
    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(64, 64), norm(64), nn.Linear(64, 48)
        self.head = nn.Linear(48, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.b(self.norm(self.a(image.flatten(1))).relu()).relu())


class Shared(nn.Module):
    """One layer in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.m, self.b = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.m(self.m(self.a(image.flatten(1)).relu()).relu())
        return self.head(self.b(x).relu())


class Tied(Shared):
    """One weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.b.weight = self.m.weight


class Recurrent(nn.Module):
    """Rows read one after the other."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.a, self.rnn = nn.Linear(8, 32), kind(32, 32, batch_first=True)
        self.b, self.head = nn.Linear(32, 512), nn.Linear(512, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x, _ = self.rnn(self.a(image[:, 0]).relu())
        return self.head(self.b(x[:, -1]).relu())


class Branching(nn.Module):
    """A layer that is reached by none of the examples, or in training only."""

    def __init__(self, training_only: bool = False) -> None:
        super().__init__()
        self.training_only = training_only
        self.a, self.b, self.c = nn.Linear(64, 32), nn.Linear(32, 40), nn.Linear(32, 40)
        self.d, self.head = nn.Linear(40, 48), nn.Linear(48, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.a(image.flatten(1)).relu()
        rare = self.training if self.training_only else bool(x.mean() > 1e6)
        return self.head(self.d((self.c(x) if rare else self.b(x)).relu()).relu())


class WeightNormed(nn.Module):
    """A weight that is computed from others."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.utils.parametrizations.weight_norm(nn.Linear(64, 32))
        self.b, self.head = nn.Linear(32, 32), nn.Linear(32, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.b(self.a(image.flatten(1)).relu()).relu())


class Apart(nn.Module):
    """Attention with a layer each for queries, keys and values."""

    def __init__(self, from_input: bool = False) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.from_input = 4, WIDTH // 4, from_input
        self.q, self.k, self.v, self.proj = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        size = c // self.num_heads if self.from_input else self.head_dim
        q, k, v = (
            layer(x).view(n, t, self.num_heads, size).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        x = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).flatten(2))


class Fused(nn.Module):
    """Attention with one layer for all three, in either order."""

    def __init__(self, by_head: bool) -> None:
        super().__init__()
        self.n_heads, self.size, self.inner, self.by_head = 4, WIDTH // 4, WIDTH, by_head
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        x = self.qkv(x)
        if self.by_head:
            q, k, v = x.view(n, t, self.n_heads, 3, self.size).permute(3, 0, 2, 1, 4)
        else:
            q, k, v = x.view(n, t, 3, self.n_heads, self.size).permute(2, 0, 3, 1, 4)
        x = (q @ k.transpose(-1, -2) / self.size**0.5).softmax(-1) @ v
        return self.out(x.transpose(1, 2).reshape(n, t, self.inner))


class Block(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention, self.n1, self.n2 = attention, nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 128), nn.GELU(), nn.Linear(128, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.n1(x))
        return x + self.mlp(self.n2(x))


class Transformer(nn.Module):
    """Two blocks that read an image row by row."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.rows, self.blocks = nn.Linear(8, WIDTH), nn.Sequential(*blocks)
        self.position = nn.Parameter(torch.randn(1, 8, WIDTH) / 10)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.blocks(self.rows(image[:, 0]) + self.position)
        return self.head(self.norm(x).mean(1))


class TorchEncoder(nn.Module):
    """PyTorch's own encoder, with nn.MultiheadAttention."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True)
        self.rows, self.encoder = nn.Linear(8, WIDTH), nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.encoder(self.rows(image[:, 0])).mean(1))


class PixelBert(nn.Module):
    """A BERT of the transformers library, from a configuration."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertForSequenceClassification

        sizes = {"hidden_size": WIDTH, "num_attention_heads": 4, "intermediate_size": 64}
        self.bert = BertForSequenceClassification(
            BertConfig(vocab_size=16, num_hidden_layers=2, num_labels=CLASSES, **sizes)
        )

    def forward(self, image: Tensor) -> Tensor:
        tokens = (image[:, 0, :2].flatten(1) * 3).long().clamp(-8, 7) + 8
        return self.bert(input_ids=tokens).logits


MODELS = {
    "residual": Residual,
    "padded shortcut": PaddedShortcut,
    "inverted residuals": Inverted,
    "concatenation": Dense,
    "GroupNorm": GroupNormed,
    "GroupNorm of one group": OneGroup,
    "grouped convolution": Grouped,
    "shuffled channels": lambda: Moved("shuffle"),
    "flipped channels": lambda: Moved("flip"),
    "rolled channels": lambda: Moved("roll"),
    "softmax over channels": lambda: Moved("softmax"),
    "hard-coded channels": HardCoded,
    "MLP with BatchNorm": lambda: Mlp(nn.BatchNorm1d),
    "MLP with LayerNorm": lambda: Mlp(nn.LayerNorm),
    "shared layer": Shared,
    "tied weight": Tied,
    "GRU": lambda: Recurrent(nn.GRU),
    "LSTM": lambda: Recurrent(nn.LSTM),
    "branch not taken": Branching,
    "branch of training": lambda: Branching(training_only=True),
    "weight norm": WeightNormed,
    "separate attention": lambda: Transformer(Block(Apart()), Block(Apart())),
    "fused attention": lambda: Transformer(Block(Fused(by_head=False)), Block(Fused(by_head=True))),
    "attention by input width": lambda: Transformer(Block(Apart(from_input=True))),
    "nn.TransformerEncoder": TorchEncoder,
    "BERT": PixelBert,
}
