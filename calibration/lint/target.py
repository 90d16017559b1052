"""The compilers a graph may be meant for, as data: which opsets and operators each reads.

Knows nothing of graphs. Read from NVIDIA's documentation, apart from TensorRT-RTX, whose parser was asked
(`OnnxParser.supports_operator`; a test asks it again).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.errors import BadInput

# What neither onnx-tensorrt 10.1 (docs/operators.md) nor TensorRT-RTX 1.7 imports
NO_IMPORTER = frozenset((
    "AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "ConvInteger", "CumProd", "DFT", "Det",
    "DynamicQuantizeLinear", "ImageDecoder", "MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix",
    "Multinomial", "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement", "QLinearConv",
    "QLinearMatMul", "RegexFullMatch", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
    "SequenceInsert", "SequenceLength", "SequenceMap", "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringConcat",
    "StringNormalizer", "StringSplit", "SwiGLU", "TfIdfVectorizer", "Unique"))


@dataclass(frozen=True)
class Target:
    """A compiler as a graph meets it; `opsets` is the inclusive range that its documentation promises."""

    name: str
    compiler: str
    opsets: tuple[int, int]
    missing: frozenset[str] = NO_IMPORTER
    plugins: bool = field(default=True)  # does it come with NVIDIA's own plugins, such as EfficientNMS_TRT?


TARGETS = {target.name: target for target in (
    # 10.0 promises 9–20 (docs/operators.md), 11 promises 9–25 (the opset guide): what holds everywhere is 9–20
    Target("tensorrt", "TensorRT 10.3 and later", (9, 20)),
    Target("jetson-orin", "TensorRT 10.3 of JetPack 6", (9, 20)),
    Target("tensorrt-rtx", "TensorRT-RTX 1.7", (9, 25), NO_IMPORTER | {"DeformConv"}, plugins=False),
)}


def find_target(name: str) -> Target:
    """Return a target by its name. Raises BadInput with the known ones."""
    if name not in TARGETS:
        raise BadInput(f"expected a target of {', '.join(TARGETS)}, found {name}; say one of those")
    return TARGETS[name]
