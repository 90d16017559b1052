"""shallow-cnn, improved-cnn, deep-cnn: the three Keras networks of paper D (Strathclyde), layer by layer.

Its summaries (figures 6–8) win over its prose: the deep network's second stage is three 5×5 convolutions (204,928
weights and twice 409,728), not one of 3×3. They list no activations, so ReLU is the convolution's own, before batch
norm. Dropout's rates are not printed: Keras' usual 0.25 in the stages, twice the rate before the last layer.
"""

from __future__ import annotations

from torch import Tensor, nn

from runtime.errors import BadInput
from train.networks.normalize import normalize_for

# (width, kernel) of each convolution, figure 8
DEEP_STAGES = (((64, 3),) * 2, ((128, 5),) * 3, ((512, 3),) * 4, ((512, 3),) * 4)


def _start_as_keras(network: nn.Module) -> None:
    """Glorot's uniform weights and zero biases, Keras' defaults (https://keras.io/api/layers/initializers/)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class _KerasCNN(nn.Module):
    """Normalization, `features`, flatten, `classifier`: the form all three have."""

    def __init__(self, channels: int, features: nn.Module, classifier: nn.Module):
        super().__init__()
        self.normalize, self.features, self.classifier = normalize_for(channels), features, classifier
        _start_as_keras(self)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classifier(self.features(self.normalize(pixels)).flatten(1))


class ImprovedCNN(_KerasCNN):
    """(N, channels, size, size) uint8 or 0–255 float → (N, classes) logits; four 3×3 convolutions without padding."""

    def __init__(self, classes: int, dropout: float = 0.25, channels: int = 1, size: int = 48):
        side = (((size - 4) // 2 - 2) // 2 - 2) // 2  # 48 → 4, figure 6
        features = nn.Sequential(
            nn.Conv2d(channels, 32, 3), nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(dropout),
            nn.Conv2d(64, 128, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(128, 128, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(dropout),
        )
        classifier = nn.Sequential(
            nn.Linear(128 * side * side, 1024), nn.ReLU(inplace=True), nn.Dropout(min(2 * dropout, 0.9)),
            nn.Linear(1024, classes),
        )
        super().__init__(channels, features, classifier)


class ShallowCNN(ImprovedCNN):
    """The same network without dropout, which is all that sets the two apart (figures 6 and 7)."""

    def __init__(self, classes: int, dropout: float = 0.0, channels: int = 1, size: int = 48):
        if dropout:
            raise BadInput(f"expected dropout 0 for shallow-cnn, found {dropout}; improved-cnn is that network with it")
        super().__init__(classes, 0.0, channels, size)


class DeepCNN(_KerasCNN):
    """(N, channels, size, size) uint8 or 0–255 float → (N, classes) logits; thirteen convolutions, figure 8."""

    def __init__(self, classes: int, dropout: float = 0.25, channels: int = 1, size: int = 48):
        layers: list[nn.Module] = []
        width_in = channels
        for stage in DEEP_STAGES:
            for width, kernel in stage:
                layers += [
                    nn.Conv2d(width_in, width, kernel, padding=kernel // 2),
                    nn.ReLU(inplace=True),
                    # Keras' defaults: epsilon 1e-3, momentum 0.99 of the old statistics
                    nn.BatchNorm2d(width, eps=1e-3, momentum=0.01),
                ]
                width_in = width
            layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
        side = size >> len(DEEP_STAGES)  # 48 → 3
        classifier = nn.Sequential(
            nn.Linear(width_in * side * side, 512), nn.ReLU(inplace=True), nn.Dropout(min(2 * dropout, 0.9)),
            nn.Linear(512, classes),
        )
        super().__init__(channels, nn.Sequential(*layers), classifier)
