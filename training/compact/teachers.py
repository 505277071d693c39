"""The two teachers: MobileNetV2 for pictures, YAMNet for sound, run from their TFLite files.

Each is given one raw input (a picture, a frame of sound) and gives back what a student is asked to
reproduce: the pooled features, and the classifier's rows that turn features into class scores. Their weights
are read for training and never shipped.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from connectors.errors import MissingFiles
from training.readers.reader import read_json

Floats = npt.NDArray[np.float32]

FRAME = 15_600
"""Samples of 16 kHz sound that YAMNet sees at once (0.975 s)."""
FRAME_RATE = 16_000
PICTURE_SIDE = 224


@dataclass(frozen=True, slots=True)
class Reply:
    """A teacher's answer for one input.

    `features` [d] pooled; of sounds `mel` [96, 64], the log-mel patch.
    """

    features: Floats
    mel: Floats | None = None


@dataclass(frozen=True, slots=True)
class Classifier:
    """A teacher's last layer: scores = features @ weight.T + bias, one row a class name."""

    names: tuple[str, ...]
    weight: Floats
    bias: Floats

    def scores(self, features: Floats) -> Floats:
        """Logits [n, classes] of features [n, d]."""
        return np.asarray(features @ self.weight.T + self.bias, dtype=np.float32)


class Teacher:
    """A TFLite network with its inner tensors at hand, by the prefix of their name and shape."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MissingFiles(f"{path} is missing: the data folder's teachers/ holds it")
        from ai_edge_litert.interpreter import Interpreter

        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # keeping inner tensors is what we want
            self._net = Interpreter(str(path), experimental_preserve_all_tensors=True, num_threads=1)
            self._net.allocate_tensors()
        self._tensors: list[dict[str, Any]] = self._net.get_tensor_details()
        self._input = self._net.get_input_details()[0]["index"]

    def find(self, prefix: str, shape: list[int]) -> dict[str, Any]:
        """The last tensor whose name starts with `prefix` and whose shape is `shape`."""
        found = [t for t in self._tensors if t["name"].startswith(prefix) and list(t["shape"]) == shape]
        if not found:
            raise ValueError(f"teacher has no tensor {prefix}* of shape {shape}")
        return found[-1]

    def read(self, tensor: dict[str, Any]) -> Floats:
        """A tensor's value as real numbers (scale and zero point applied)."""
        value = self._net.get_tensor(tensor["index"])
        if value.dtype == np.float32:
            return np.array(value, dtype=np.float32)
        parameters = tensor["quantization_parameters"]
        scales, zeros = parameters["scales"], parameters["zero_points"]
        if len(scales) > 1:  # one scale for each row of the quantised axis
            shape = [1] * value.ndim
            shape[parameters["quantized_dimension"]] = -1
            scales, zeros = scales.reshape(shape), zeros.reshape(shape)
        real = (value.astype(np.float32) - zeros) * scales
        return np.asarray(real, dtype=np.float32)

    def operations(self) -> Iterator[tuple[str, list[dict[str, Any]], dict[str, Any]]]:
        """The network's operations in order: the name of each, the tensors it reads, the tensor it writes."""
        by_index = {tensor["index"]: tensor for tensor in self._tensors}
        for each in self._net._get_ops_details():  # nothing public tells a file's operations
            read = [by_index[index] for index in each["inputs"] if index in by_index]
            yield each["op_name"], read, by_index[each["outputs"][0]]

    def run(self, value: npt.NDArray[Any]) -> None:
        """Invoke on one input."""
        self._net.set_tensor(self._input, value)
        self._net.invoke()


class MobileNetV2(Teacher):
    """The picture teacher: 1280 pooled features, 1000 ImageNet classes."""

    features = 1280

    def __init__(self, teachers: Path) -> None:
        super().__init__(teachers / "mobilenet_v2_1.0_224_ptq.tflite")
        top = "MobileNetV2/"
        self._pooled = self.find(top + "top/Reshape", [1, 1, 1, 1280])
        names = read_json(teachers / "imagenet_classes.json")
        assert isinstance(names, list)
        self._names = tuple(str(name) for name in names)

    def reply(self, picture: npt.NDArray[np.uint8]) -> Reply:
        """Answer for an RGB picture [224, 224, 3]."""
        self.run(picture[None])
        return Reply(self.read(self._pooled).reshape(-1))

    def classifier(self) -> Classifier:
        """The 1000 ImageNet rows (the background row is left out)."""
        weight = self.read(self._parameter([1001, 1, 1, 1280])).reshape(1001, 1280)
        bias = self.read(self._parameter([1001])).reshape(-1)
        return Classifier(self._names, weight[1:], bias[1:])

    def _parameter(self, shape: list[int]) -> dict[str, Any]:
        return next(t for t in self._tensors if list(t["shape"]) == shape)


class YamNet(Teacher):
    """The sound teacher: 1024 pooled features, 521 AudioSet classes."""

    features = 1024

    def __init__(self, teachers: Path) -> None:
        super().__init__(teachers / "yamnet.tflite")
        top = "yamnet_frames/"
        self._pooled = self.find(top + "global_average_pooling2d/Mean", [1, 1024])
        self._mel = self.find(top + "reshape/Reshape", [1, 96, 64, 1])
        names = read_json(teachers / "yamnet_classes.json")
        assert isinstance(names, list)
        self._names = tuple(str(name) for name in names)

    def reply(self, frame: Floats) -> Reply:
        """Answer for 16 kHz sound [15600] in -1..1."""
        self.run(np.ascontiguousarray(frame[None], dtype=np.float32))
        return Reply(
            self.read(self._pooled).reshape(-1),
            self.read(self._mel)[0, :, :, 0],
        )

    def classifier(self) -> Classifier:
        """The 521 AudioSet rows."""
        weights = next(t for t in self._tensors if list(t["shape"]) == [521, 1024])
        biases = next(t for t in self._tensors if list(t["shape"]) == [521])
        weight, bias = self.read(weights), self.read(biases).reshape(-1)
        return Classifier(self._names, weight, bias)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what the runtime prints straight to the error stream while it loads."""
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("wb") as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
