"""Train the three small digit networks of this folder and write their data.

Data     The handwritten digits that come with scikit-learn: 1797 grey images of 8x8 pixels in ten classes. They are the
         test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI Machine Learning
         Repository, https://doi.org/10.24432/C50P49), licensed CC BY 4.0. Pixels are scaled from 0..16 to 0..1.
Split    One seeded shuffle: 450 images for testing, the other 1347 for training. The test images are looked at once,
         after training, and choose nothing: the last epoch is what is written. 400 images of the training part,
         without their labels, are the calibration data.
Files    digits.calib.npz (`input`), digits.test.npz (`input`, `labels`), NAME.onnx for every network.
Rerun    pip install -e .[train]
         python models/train.py [NAME ...]
         On one machine with the same versions, two runs write the same bytes.
"""

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

FOLDER = Path(__file__).resolve().parent
SEED = 2026
TEST_IMAGES = 450
CALIBRATION_IMAGES = 400
EPOCHS = 60
BATCH = 64
PEAK_LEARNING_RATE = 5e-3
WEIGHT_DECAY = 1e-2
OPSET = 17


class Split(NamedTuple):
    """Images (N×1×8×8, 0..1) and their labels."""

    images: Tensor
    labels: Tensor


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution that keeps the image size (divided by the stride), and its normalisation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A depthwise convolution followed by a pointwise one."""
    depthwise = [*conv_bn(inputs, inputs, stride=stride, groups=inputs), nn.ReLU6()]
    pointwise = [*conv_bn(inputs, outputs, kernel=1), nn.ReLU6()]
    return nn.Sequential(*depthwise, *pointwise)


class Branches(nn.Module):
    """Two stems of different kernel size side by side, their channels concatenated."""

    def __init__(self, outputs3: int, outputs5: int) -> None:
        super().__init__()
        self.conv3 = nn.Sequential(*conv_bn(1, outputs3, kernel=3), nn.ReLU())
        self.conv5 = nn.Sequential(*conv_bn(1, outputs5, kernel=5), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """The channels of both branches."""
        return torch.cat([self.conv3(x), self.conv5(x)], dim=1)


class Residual(nn.Module):
    """Two convolutions beside a shortcut, which is a projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv_bn(inputs, outputs, stride=stride), nn.ReLU(), *conv_bn(outputs, outputs))
        changes = inputs != outputs or stride != 1
        self.shortcut = nn.Sequential(*conv_bn(inputs, outputs, kernel=1, stride=stride)) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The rectified sum of both paths."""
        return functional.relu(self.body(x) + self.shortcut(x))


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        squeeze = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, squeezed, 1), nn.ReLU()]
        self.gate = nn.Sequential(*squeeze, nn.Conv2d(squeezed, channels, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """The gated channels."""
        gated: Tensor = x * self.gate(x)
        return gated


def digits_cnn() -> nn.Sequential:
    """Three convolutions, two poolings, and a flattened 2×2 image before two dense layers."""
    shallow = [*conv_bn(1, 16), nn.ReLU(), *conv_bn(16, 32), nn.ReLU(), nn.MaxPool2d(2)]
    deep = [*conv_bn(32, 48), nn.ReLU(), nn.MaxPool2d(2)]
    classifier = [nn.Flatten(), nn.Linear(48 * 2 * 2, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(OrderedDict(features=nn.Sequential(*shallow, *deep), classifier=nn.Sequential(*classifier)))


def digits_resnet() -> nn.Sequential:
    """A stem of two concatenated branches, then two residual stages."""
    layers = OrderedDict(
        stem=Branches(12, 4),
        stage1=Residual(16, 16),
        stage2=nn.Sequential(Residual(16, 32, stride=2), Residual(32, 32)),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(32, 10),
    )
    return nn.Sequential(layers)


def digits_mobile() -> nn.Sequential:
    """Depthwise-separable blocks with one squeeze-and-excite gate."""
    layers = OrderedDict(
        stem=nn.Sequential(*conv_bn(1, 16), nn.ReLU6()),
        block1=separable(16, 32),
        block2=separable(32, 64, stride=2),
        excite=SqueezeExcite(64, squeezed=16),
        block3=separable(64, 64),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(64, 10),
    )
    return nn.Sequential(layers)


NETWORKS = {"digits_cnn": digits_cnn, "digits_resnet": digits_resnet, "digits_mobile": digits_mobile}


def load_splits() -> tuple[Split, Split]:
    """The training and the test part of the digits, shuffled by the seed."""
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    images = torch.from_numpy((digits.images[order, np.newaxis] / 16).astype(np.float32))
    labels = torch.from_numpy(digits.target[order].astype(np.int64))
    test = Split(images[:TEST_IMAGES], labels[:TEST_IMAGES])
    return Split(images[TEST_IMAGES:], labels[TEST_IMAGES:]), test


def write_data(train: Split, test: Split) -> None:
    """Write the calibration images (the training part is already shuffled) and the labelled test images."""
    np.savez_compressed(FOLDER / "digits.calib.npz", input=train.images[:CALIBRATION_IMAGES].numpy())
    np.savez_compressed(FOLDER / "digits.test.npz", input=test.images.numpy(), labels=test.labels.numpy())


def shifted(images: Tensor) -> Tensor:
    """Every image moved by -1, 0 or 1 pixels in both directions."""
    size = images.shape[-1]
    windows = functional.pad(images, (1, 1, 1, 1)).unfold(2, size, 1).unfold(3, size, 1)
    rows, columns = torch.randint(3, (2, len(images)))
    return windows[torch.arange(len(images)), :, rows, columns]


def fit(network: nn.Module, train: Split) -> None:
    """Train for a fixed number of epochs with AdamW and a one-cycle learning rate."""
    batches = len(train.labels) // BATCH
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=EPOCHS * batches)
    network.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(train.labels)).split(BATCH)[:batches]:
            optimizer.zero_grad()
            logits = network(shifted(train.images[batch]))
            functional.cross_entropy(logits, train.labels[batch], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    network.eval()


def export(network: nn.Module, images: Tensor, path: Path) -> None:
    """Write the network as ONNX; PRESERVE, because EVAL would merge BatchNormalization into the convolutions."""
    torch.onnx.export(
        network,
        (images[:2],),
        path,
        dynamo=False,  # the newer exporter needs onnxscript
        opset_version=OPSET,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
    )
    onnx.checker.check_model(path, full_check=True)


def logits_of(path: Path, images: Tensor) -> Tensor:
    """What onnxruntime computes for the images."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": images.numpy()})
    return torch.from_numpy(logits)


def make(name: str, train: Split, test: Split) -> None:
    """Train one network, write it, and print what the written file scores on the test images."""
    torch.manual_seed(SEED)
    network = NETWORKS[name]()
    fit(network, train)
    path = FOLDER / f"{name}.onnx"
    export(network, train.images, path)
    with torch.no_grad():
        torch.testing.assert_close(logits_of(path, train.images), network(train.images), rtol=0, atol=1e-5)
    correct = int((logits_of(path, test.images).argmax(1) == test.labels).sum())
    parameters = sum(parameter.numel() for parameter in network.parameters())
    total = len(test.labels)
    print(f"{name}: {parameters} parameters, {correct}/{total} test images right ({correct / total:.2%})")


def main() -> None:
    """Write the data, then make the networks named on the command line (all of them by default)."""
    parser = argparse.ArgumentParser(description="Train the digit networks of this folder.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NETWORKS)} (default: all)")
    names = parser.parse_args().names or list(NETWORKS)
    if unknown := set(names) - set(NETWORKS):
        parser.error(f"no such network: {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train, test = load_splits()
    write_data(train, test)
    for name in names:
        make(name, train, test)


if __name__ == "__main__":
    main()
