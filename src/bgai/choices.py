"""Values that arguments of the library and options of the command line can have; loads nothing heavy."""

from __future__ import annotations

from typing import Literal

EngineName = Literal["auto", "openvino", "native", "torch", "onnxruntime"]
Precision = Literal["float32", "half"]
VideoCodec = Literal["h264", "hevc", "av1", "vp9", "ffv1", "prores"]
