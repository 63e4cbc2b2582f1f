"""Steps with folded weights give what the network's own steps give."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bgai.engines.folded_weights import Folded, fold
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI, Block, Group, LayerNorm


def network() -> BGAI:
    torch.manual_seed(0)
    made = BGAI(NetworkConfig(2)).double()
    for module in made.modules():
        if isinstance(module, LayerNorm):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    return made


def folded(made: BGAI) -> Folded:
    return fold({name: tensor.numpy() for name, tensor in made.state_dict().items()}, made.config)


def convolve(x: Tensor, weights: Folded, name: str) -> Tensor:
    return F.conv2d(x, torch.from_numpy(weights[f"{name}.weight"]), torch.from_numpy(weights[f"{name}.bias"]))


def test_a_normalisation_is_part_of_the_convolutions_after_it() -> None:
    made, x = network(), torch.rand(1, 52, 5, 7).double()
    weights, block = folded(made), made.get_submodule("groups.3.blocks.1")
    assert isinstance(block, Block)
    plain = LayerNorm(52).double()(x)
    for name, norm, module in (
        ("router", block.norm1, block.router),
        ("local", block.norm1, block.local),
        ("mlp.widen", block.norm2, block.mlp.widen),
    ):
        torch.testing.assert_close(convolve(plain, weights, f"groups.3.blocks.1.{name}"), module(norm(x)))


def test_a_group_ends_with_one_convolution() -> None:
    made = network()
    x, features = torch.rand(2, 1, 52, 9, 8).double()
    weights, group = folded(made), made.get_submodule("groups.2")
    assert isinstance(group, Group)
    before_join: list[Tensor] = []
    handle = group.mixing2.join.register_forward_pre_hook(lambda _, inputs: before_join.append(inputs[0]))
    expected = group.leave(x, features)
    handle.remove()
    torch.testing.assert_close(convolve(torch.cat((before_join[0], x), 1), weights, "groups.2.fuse"), expected)


def test_what_is_included_elsewhere_is_left_out() -> None:
    made = network()
    names = set(made.state_dict()) - set(folded(made))
    assert {name.split(".", 2)[2] for name in names if "blocks" not in name} == {
        *("mixing2.join.weight", "mixing2.join.bias", "bypass.weight", "bypass.bias")
    }
    assert {name.split(".")[4] for name in names if "blocks" in name} == {"norm1", "norm2"}
    difference = folded(made)["head.bias"] - made.state_dict()["head.bias"].numpy()
    np.testing.assert_allclose(difference, np.repeat((0.4488, 0.4371, 0.4040), 4))
