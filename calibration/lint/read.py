"""A file → an ONNX model, whatever the file holds. Never opens a second file: external data stays where it is."""

from __future__ import annotations

from pathlib import Path

import onnx

from runtime.errors import BadInput

MOST_BYTES = 2**31 - 1  # protobuf's own limit for one message (https://protobuf.dev/programming-guides/proto-limits/)


def read_onnx(path: Path) -> onnx.ModelProto:
    """Parse a file of any content. Raises BadInput with one line where it is no ONNX model."""
    if not path.is_file():
        raise BadInput(f"expected an ONNX file, found {'a folder' if path.is_dir() else 'nothing'} at {path}; "
                       "give the path of a graph, such as fp32.onnx")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise BadInput(f"expected an ONNX file of up to 2 GiB, found {size / 2**30:.1f} GiB in {path}; "
                       "protobuf holds no more: store the weights as external data")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError, and what its parsers raise on hostile bytes
        raise BadInput(f"expected an ONNX file, found other or truncated bytes in {path}; export it again") from error
    if not model.HasField("graph") or not model.opset_import:  # other protobufs, and empty files, parse as one too
        raise BadInput(f"expected an ONNX file with a graph and an opset, found neither or one of them in {path}; "
                       "export it again")
    return model
