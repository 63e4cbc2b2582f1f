"""The loss of a training step: the distance from the true pictures, and from a teacher's results for the same input.

A teacher is a trained network of the same shape. It gives its enlarged picture and all that lies between: each part
of the student is given the teacher's input of that part, features and attention maps, and is to give the teacher's
output. So every part learns by itself, from its first step on, whatever the parts before it have learnt.
Source: A. Romero et al., FitNets: Hints for Thin Deep Nets (2015), with every part hinted.

Dimensions: those of `model.py`; p x p low-resolution pixels in a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bgai.network.model import BGAI, Group
from bgai.training.perceptual import PerceptualDistance

Maps = Sequence[Sequence[Tensor | None]]
Distance = Callable[[Tensor, Tensor], Tensor]
"""How far an enlarged picture is from the true one: both B x 3 x sp x sp, to one number."""


class Objective(nn.Module):
    """The terms of the loss of a batch, each with its weight, in the order of `names`.

    Args:
        network: What is trained.
        teacher: Not trained, and not part of the state of this module; needed for `features`, `maps` and `output`.
        pixels: Weight of the distance from the true pictures.
        distance: That distance; the mean absolute difference, unless given.
        frequencies: Weight of the distance between the pictures' Fourier transforms.
        perceptual: Compares the pictures in the features of another network, with weights of its own.
        features: Weight of the parts' relative squared errors.
        maps: Weight of the attention maps' relative squared errors.
        output: Weight of the mean absolute difference from the teacher's pictures.
        ensemble: Compare with the mean of the teacher's pictures of all eight orientations.
    """

    def __init__(
        self,
        network: BGAI,
        teacher: BGAI | None = None,
        *,
        pixels: float = 1,
        distance: Distance = F.l1_loss,
        frequencies: float = 0,
        perceptual: PerceptualDistance | None = None,
        features: float = 0,
        maps: float = 0,
        output: float = 0,
        ensemble: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        # In lists, so that their tensors are not this module's.
        self._teacher = [teacher] if teacher else []
        self._perceptual = [perceptual] if perceptual else []
        self._ensemble = ensemble
        self._distance = distance
        weights = {
            "pixels": pixels,
            "frequencies": frequencies,
            "perceptual": perceptual.options.perceptual_weight if perceptual else 0,
            "style": perceptual.options.style_weight if perceptual else 0,
            "features": features,
            "maps": maps,
            "output": output,
        }
        self._weights = {name: weight for name, weight in weights.items() if weight > 0}

    @property
    def names(self) -> list[str]:
        """`pixels`, `frequencies`, `perceptual`, `style`, `features`, `maps` and `output`, those that have a weight."""
        return list(self._weights)

    def forward(self, lr: Tensor, hr: Tensor, variances: Sequence[Tensor] | None = None) -> Tensor:
        """The weighted terms, one for each of `names`.

        Args:
            lr: B x 3 x p x p in [0, 1].
            hr: Its target, B x 3 x sp x sp.
            variances: Of the batch that this is a part of; see `variances`.
        """
        terms: dict[str, Tensor] = {}
        target = None
        if {"features", "maps"} & self._weights.keys():
            terms["features"], terms["maps"], target = forced_errors(self.network, self._teacher[0], lr, variances)
        if {"pixels", "frequencies", "perceptual", "style", "output"} & self._weights.keys():
            sr = self.network(lr).float()
            terms["pixels"] = self._distance(sr, hr)
            if "frequencies" in self._weights:
                terms["frequencies"] = spectral_distance(sr, hr)
            for distance in self._perceptual:
                terms["perceptual"], terms["style"] = distance(sr, hr)
            if "output" in self._weights:
                terms["output"] = F.l1_loss(sr, self._target(lr, target))
        return torch.stack([terms[name] * weight for name, weight in self._weights.items()])

    def held_tensors(self) -> list[Tensor]:
        """The weights of all networks here, which take memory once, however large the batch is."""
        networks: list[nn.Module] = [self, *self._teacher, *self._perceptual]
        return [parameter for network in networks for parameter in network.parameters()]

    def variances(self, parts: Sequence[Tensor]) -> list[Tensor] | None:
        """What `forward` needs to know of the whole batch where it is given one part at a time; None is nothing."""
        if not {"features", "maps"} & self._weights.keys():
            return None
        return pooled_variances(self._teacher[0], parts)

    @torch.no_grad()
    def _target(self, lr: Tensor, known: Tensor | None) -> Tensor:
        """What the teacher makes of the batch, `known` if its features were asked for; B x 3 x sp x sp, float32."""
        if self._ensemble:
            return self_ensemble(self._teacher[0], lr)
        return (self._teacher[0](lr) if known is None else known).float()


def charbonnier(sr: Tensor, hr: Tensor, eps: float) -> Tensor:
    """The mean of the root of the squared difference plus `eps`.

    Source: W.-S. Lai et al., Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution (2017).
    """
    return torch.sqrt((sr - hr) ** 2 + eps).mean()


def spectral_distance(sr: Tensor, hr: Tensor) -> Tensor:
    """The mean absolute difference of the real and imaginary parts of two-dimensional Fourier transforms, of which
    the half that says all is taken, not normalised.

    Source: L. Sun et al., Spatially-Adaptive Feature Modulation for Efficient Image Super-Resolution (2023).
    """
    return torch.view_as_real(torch.fft.rfft2(sr - hr)).abs().mean()


def forced_errors(
    student: BGAI, teacher: BGAI, lr: Tensor, variances: Sequence[Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """How far the student's parts are from the teacher's, all given the teacher's inputs.

    The parts are the first convolution, what leads into the blocks of a group, each block, what leads out of them,
    what joins the groups, and the last convolution.

    Args:
        student: What gets gradients.
        teacher: Of the same shape; none of its parameters requires a gradient.
        lr: B x 3 x p x p in [0, 1].
        variances: Those of a larger batch, of which `lr` is a part, from `pooled_variances`; None takes those of `lr`.

    Returns:
        The mean over the parts of the squared error over the variance of what the part adds to its input; the same
        mean over the attention maps; and the teacher's enlarged picture.
    """
    errors: tuple[list[Tensor], list[Tensor]] = [], []
    given_variances = iter(variances or ())
    sr = lr
    for part in _teacher_parts(teacher, lr):
        for place, (own, shown) in enumerate(zip(part.run(student), part.outputs, strict=True)):
            variance = next(given_variances, None)
            if variance is None:
                variance = _added(part, place).var()
            errors[min(place, 1)].append(F.mse_loss(own.float(), shown.float()) / variance.clamp(min=1e-12))
        sr = part.outputs[0]
    features, maps = errors
    return torch.stack(features).mean(), torch.stack(maps).mean(), sr


@torch.no_grad()
def pooled_variances(teacher: BGAI, parts: Sequence[Tensor]) -> list[Tensor]:
    """The variances by which `forced_errors` divides for a whole batch, of a batch that is computed in parts.

    Args:
        teacher: Of which the outputs are taken.
        parts: Each b x 3 x p x p; together the batch.
    """
    moments = [
        [_moments(_added(part, place)) for part in _teacher_parts(teacher, lr) for place in range(len(part.outputs))]
        for lr in parts
    ]
    variances = []
    for each in zip(*moments, strict=True):
        counts, means, squares = (torch.stack(column) for column in zip(*each, strict=True))
        mean = (counts * means).sum() / counts.sum()
        variances.append(((squares + counts * (means - mean) ** 2).sum() / (counts.sum() - 1)).float())
    return variances


def _moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and sum of squared deviations."""
    values = values.double()
    mean = values.mean()
    return torch.full_like(mean, values.numel()), mean, ((values - mean) ** 2).sum()


class _Part(NamedTuple):
    """One part of the network, given the teacher's input of it."""

    run: Callable[[BGAI], Sequence[Tensor]]
    """What it computes in a network: features, and after them attention maps."""
    outputs: Sequence[Tensor]
    """What it computes in the teacher."""
    given: Tensor
    """What its features are added to."""


def _teacher_parts(teacher: BGAI, lr: Tensor) -> Iterator[_Part]:
    """The parts in the order of computation; the last one's output is the enlarged picture."""
    shallow = teacher.shallow_features(lr)
    yield _Part(lambda network: [network.shallow_features(lr)], [shallow], _nothing(shallow))
    x, outputs = shallow, []
    previous: Maps = [[None] * 4] * teacher.config.blocks
    for index in range(teacher.config.groups):
        group, given = _group(teacher, index), x
        entered = group.enter(given)
        yield _Part(partial(_run_enter, index=index, given=given), [entered], given)
        passed_on: list[list[Tensor]] = []
        for place, (block, earlier) in enumerate(zip(group.blocks, previous, strict=True)):
            left, maps = block(entered, earlier)
            run = partial(_run_block, index=index, place=place, given=entered, earlier=earlier)
            yield _Part(run, [left, *maps], entered)
            passed_on.append(maps)
            entered = left
        x = group.leave(given, entered)
        yield _Part(partial(_run_leave, index=index, given=given, features=entered), [x], given)
        outputs.append(x)
        previous = passed_on
    deep = teacher.deep_features(shallow, outputs)
    yield _Part(lambda network: [network.deep_features(shallow, outputs)], [deep], shallow)
    interpolated = F.interpolate(lr, scale_factor=teacher.config.scale, mode="bilinear")
    yield _Part(lambda network: [network.reconstruct(deep)], [teacher.reconstruct(deep)], interpolated)


def _run_enter(network: BGAI, index: int, given: Tensor) -> Sequence[Tensor]:
    return [_group(network, index).enter(given)]


def _run_block(
    network: BGAI, index: int, place: int, given: Tensor, earlier: Sequence[Tensor | None]
) -> Sequence[Tensor]:
    features, maps = _group(network, index).blocks[place](given, earlier)
    return [features, *maps]


def _run_leave(network: BGAI, index: int, given: Tensor, features: Tensor) -> Sequence[Tensor]:
    return [_group(network, index).leave(given, features)]


def _group(network: BGAI, index: int) -> Group:
    group = network.groups[index]
    assert isinstance(group, Group)
    return group


def _added(part: _Part, place: int) -> Tensor:
    """What the part's features add to its input, or one of its attention maps."""
    output = part.outputs[place]
    given = part.given if place == 0 else _nothing(output)
    return output.float() - given.float()


def _nothing(like: Tensor) -> Tensor:
    return torch.zeros((), dtype=like.dtype, device=like.device)


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
