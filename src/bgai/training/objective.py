"""What a training step minimises: the distance from the true pictures, and from what a teacher makes of the same input.

A teacher is a trained network of the same shape. Beside its enlarged picture it shows all that lies between: each part
of the student is given the teacher's input of that part, features and attention maps, and is to give the teacher's
output. So every part learns by itself, from its first step on, whatever the parts before it have learnt.
Source: A. Romero et al., FitNets: Hints for Thin Deep Nets (2015), with every part hinted.

Dimensions: those of `model.py`; p x p low-resolution pixels in a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bgai.network.model import BGAI, Group
from bgai.options.sections import TeacherOptions

Maps = Sequence[Sequence[Tensor | None]]


class Objective(nn.Module):
    """The terms of the loss of a batch, each with its weight, in the order of `names`.

    Args:
        network: What is trained.
        pixel_weight: Of the mean absolute difference from the true pictures; 0 leaves them out.
        teacher: Not trained, and not part of the state of this module.
        options: Weights of what the teacher shows; needed with a teacher.
    """

    def __init__(
        self, network: BGAI, pixel_weight: float, teacher: BGAI | None = None, options: TeacherOptions | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self._teacher = [teacher] if teacher else []  # in a list, so that its tensors are not this module's
        self._ensemble = options is not None and options.ensemble
        weights = {"pixels": pixel_weight}
        if options is not None:
            weights |= {"features": options.features, "maps": options.maps, "output": options.output}
        self._weights = {name: weight for name, weight in weights.items() if weight > 0}

    @property
    def names(self) -> list[str]:
        """`pixels`, `features`, `maps` and `output`, those that have a weight."""
        return list(self._weights)

    def forward(self, lr: Tensor, hr: Tensor) -> Tensor:
        """The weighted terms, one for each of `names`, of B x 3 x p x p in [0, 1] and its B x 3 x sp x sp target."""
        found: dict[str, Tensor] = {}
        target = None
        if {"features", "maps"} & self._weights.keys():
            found["features"], found["maps"], target = forced_errors(self.network, self._teacher[0], lr)
        if {"pixels", "output"} & self._weights.keys():
            sr = self.network(lr).float()
            found["pixels"] = F.l1_loss(sr, hr)
            if "output" in self._weights:
                found["output"] = F.l1_loss(sr, self._target(lr, target))
        return torch.stack([found[name] * weight for name, weight in self._weights.items()])

    @torch.no_grad()
    def _target(self, lr: Tensor, known: Tensor | None) -> Tensor:
        """What the teacher makes of the batch, `known` if its features were asked for; B x 3 x sp x sp, float32."""
        if self._ensemble:
            return self_ensemble(self._teacher[0], lr)
        return (self._teacher[0](lr) if known is None else known).float()


def forced_errors(student: BGAI, teacher: BGAI, lr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How far the student's parts are from the teacher's, all given the teacher's inputs.

    The parts are the first convolution, what leads into the blocks of a group, each block, what leads out of them,
    what joins the groups, and the last convolution.

    Args:
        student: What gets gradients.
        teacher: Of the same shape; none of its parameters requires a gradient.
        lr: B x 3 x p x p in [0, 1].

    Returns:
        The mean over the parts of the squared error over the variance of what the part adds to its input; the same
        mean over the attention maps; and the teacher's enlarged picture.
    """
    shallow = teacher.shallow_features(lr)
    nothing = torch.zeros_like(shallow[:1, :1, :1, :1])
    features = [_relative_error(student.shallow_features(lr), shallow, nothing)]
    maps: list[Tensor] = []
    x, outputs = shallow, []
    previous: Maps = [[None] * 4] * student.config.blocks
    for own, shown in zip(student.groups, teacher.groups, strict=True):
        assert isinstance(own, Group)
        assert isinstance(shown, Group)
        entered = shown.enter(x)
        features.append(_relative_error(own.enter(x), entered, x))
        passed_on: list[list[Tensor]] = []
        for own_block, shown_block, earlier in zip(own.blocks, shown.blocks, previous, strict=True):
            left, shown_maps = shown_block(entered, earlier)
            own_left, own_maps = own_block(entered, earlier)
            features.append(_relative_error(own_left, left, entered))
            maps += [_relative_error(mine, its, nothing) for mine, its in zip(own_maps, shown_maps, strict=True)]
            passed_on.append(shown_maps)
            entered = left
        output = shown.leave(x, entered)
        features.append(_relative_error(own.leave(x, entered), output, x))
        outputs.append(output)
        x, previous = output, passed_on
    deep = teacher.deep_features(shallow, outputs)
    features.append(_relative_error(student.deep_features(shallow, outputs), deep, shallow))
    sr = teacher.reconstruct(deep)
    interpolated = F.interpolate(lr, scale_factor=student.config.scale, mode="bilinear")
    features.append(_relative_error(student.reconstruct(deep), sr, interpolated))
    return torch.stack(features).mean(), torch.stack(maps).mean(), sr


def _relative_error(own: Tensor, shown: Tensor, given: Tensor) -> Tensor:
    """Mean squared error over the variance of what was added to `given`."""
    variance = (shown.float() - given.float()).var()
    return F.mse_loss(own.float(), shown.float()) / variance.clamp(min=1e-12)


@torch.no_grad()
def self_ensemble(network: BGAI, lr: Tensor) -> Tensor:
    """The mean over the eight orientations of the input, each turned back; B x 3 x sp x sp, float32.

    Source: B. Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution (2017).
    """
    total = sum(undo(network(turned).float()) for turned, undo in _orientations(lr))
    assert isinstance(total, Tensor)
    return total / 8


def _orientations(x: Tensor) -> Iterator[tuple[Tensor, Callable[[Tensor], Tensor]]]:
    """The eight ways to lay a picture, each with what turns a result back."""
    for turns in range(4):
        for mirrored in (False, True):
            turned = torch.rot90(x.flip(-1) if mirrored else x, turns, (-2, -1))

            def undo(result: Tensor, turns: int = turns, mirrored: bool = mirrored) -> Tensor:
                result = torch.rot90(result, -turns, (-2, -1))
                return result.flip(-1) if mirrored else result

            yield turned.contiguous(memory_format=torch.channels_last), undo
