"""Checkpoints of the network: reading ours and the authors', writing ours."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgai.config import SCALES, NetworkConfig
from bgai.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from bgai.model import BGAI

# Names in the authors' checkpoints -> names in `bgai.model`, applied in this order.
RELEASED_NAMES = (
    (r"^conv_shallow\.", "shallow."),
    (r"^c\.", "fuse."),
    (r"^conv_before_upsample\.0\.", "refine."),
    (r"^upsample\.0\.0\.", "head."),
    (r"^bsc_layer\.(\d+)\.", r"groups.\1."),
    (r"\.res_spatial_attn\.0\.body\.0\.conv1\.", ".mixing1."),
    (r"\.res_spatial_attn\.0\.body\.1\.swin_body\.(\d+)\.", r".blocks.\1."),
    (r"\.res_spatial_attn\.1\.", ".mixing2."),
    (r"^(groups\.\d+)\.conv1x1_2\.", r"\1.bypass."),
    (r"^(groups\.\d+)\.conv1x1_3\.", r"\1.fuse."),
    (r"\.proj1_router\.", ".router."),
    (r"\.proj1\.", ".local."),
    (r"\.attn1\.", ".broadcast_attention."),
    (r"\.attn2\.", ".local_attentions.0."),
    (r"\.attn3\.", ".local_attentions.1."),
    (r"\.attn4\.", ".local_attentions.2."),
    (r"\.proj_q\.", ".query."),
    (r"\.proj_v\.", ".value."),
    (r"\.lepe_v\.", ".position."),
    (r"\.gate_layer1\.", ".gates.0."),
    (r"\.gate_layer2\.", ".gates.1."),
    (r"\.gate_layer3\.", ".gates.2."),
    (r"\.gated_reset\.", ".reset."),
    (r"\.gated_update\.", ".update."),
    (r"\.gated_fusion\.", ".candidate."),
    (r"\.proj\.", ".project."),
    (r"\.mlp\.fc1\.", ".mlp.widen."),
    (r"\.mlp\.fc2\.", ".mlp.narrow."),
    (r"\.mlp\.dwc1\.conv2_1\.", ".mlp.square."),
    (r"\.mlp\.dwc1\.conv2_2\.", ".mlp.tall."),
    (r"\.mlp\.dwc1\.conv2_3\.", ".mlp.wide."),
    (r"\.mlp\.dwc1\.conv2_4\.", ".mlp.twice."),
    (r"\.?\bconv1\.", ".spread."),
    (r"\.conv2_2\.", ".vertical."),
    (r"\.conv2_3\.", ".horizontal."),
    (r"\.conv2_4\.", ".near."),
    (r"\.conv1x1_2\.", ".join."),
)


def our_name(released: str) -> str:
    """Translate a tensor's name in the authors' checkpoints to its name in `bgai.model`."""
    for pattern, replacement in RELEASED_NAMES:
        released = re.sub(pattern, replacement, released)
    return released
