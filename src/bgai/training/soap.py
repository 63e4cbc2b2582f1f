"""The optimizer SOAP: Adam in the basis in which a matrix's gradients vary independently.

Source: N. Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam (2024), algorithm 3. Kernels are matrices
here, of output channels by all else. Matrices of one shape are worked on together: the network's are many and
small, and each by itself would cost more calls than arithmetic.

Dimensions: k parameters of one shape, m rows, n columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_LARGEST_SIDE = 128  # Longer sides keep their basis: what a decomposition costs grows with the cube of the side.


class Soap(torch.optim.Optimizer):
    """Adam in the eigenbasis of the gradients' second moments, along both sides of each matrix.

    Args:
        params: Each needs a gradient at every step; vectors are left in their own basis.
        lr: Step size, comparable to Adam's.
        betas: Decay of the mean gradient, and of the second moments.
        eps: Least divisor of a step.
        weight_decay: Decoupled from the gradient, as in AdamW.
        frequency: Steps from one refinement of the bases to the next.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0,
        frequency: int = 10,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "frequency": frequency}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = closure() if closure else None
        for settings in self.param_groups:
            for parameters in _by_shape(settings["params"]):
                self._step(parameters, settings)
        return loss

    def _step(self, parameters: list[Tensor], settings: dict[str, Any]) -> None:
        """Step parameters of one shape, whose common state is kept with the first of them."""
        gradient = torch.stack([_as_matrix(parameter.grad) for parameter in parameters])
        state = self.state[parameters[0]]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["step"] += 1
        step = int(state["step"])
        self._update_bases(state, gradient, step, settings)
        decays = settings["betas"]
        state["mean"].lerp_(gradient, 1 - decays[0])
        state["square"].lerp_(_turned(state, gradient).square_(), 1 - decays[1])
        mean = _turned(state, state["mean"]) / (1 - decays[0] ** step)
        scale = (state["square"] / (1 - decays[1] ** step)).sqrt_().add_(settings["eps"])
        update = _turned_back(state, mean / scale)
        if settings["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - settings["lr"] * settings["weight_decay"])
        changes = [change.view_as(parameter) for change, parameter in zip(update, parameters, strict=True)]
        torch._foreach_add_(parameters, changes, alpha=-settings["lr"])

    @staticmethod
    def _update_bases(state: dict[str, Tensor], gradient: Tensor, step: int, settings: dict[str, Any]) -> None:
        """Follow the gradients' second moments along both sides, and now and then refine their eigenvectors.

        Between refinements one step of orthogonal iteration is enough: the moments change slowly.
        """
        _, m, n = gradient.shape
        for name, side in (("left", m), ("right", n)):
            if m == 1 or not 1 < side <= _LARGEST_SIDE:
                continue
            moment = gradient @ gradient.mT if name == "left" else gradient.mT @ gradient
            if step == 1:
                state[name] = moment
                state[f"{name}_basis"] = torch.linalg.eigh(moment)[1].flip(-1)
                continue
            state[name].lerp_(moment, 1 - settings["betas"][1])
            if step % settings["frequency"] == 0 or step < settings["frequency"]:  # the first come of few gradients
                state[f"{name}_basis"] = torch.linalg.qr(state[name] @ state[f"{name}_basis"])[0]


def _by_shape(parameters: Iterable[Tensor]) -> list[list[Tensor]]:
    found: dict[tuple[int, int], list[Tensor]] = {}
    for parameter in parameters:
        rows, columns = _as_matrix(parameter).shape
        found.setdefault((rows, columns), []).append(parameter)
    return list(found.values())


def _as_matrix(tensor: Tensor | None) -> Tensor:
    """m x n: kernels flattened to their output channels' rows, vectors to one row."""
    assert tensor is not None
    return tensor.flatten(1) if tensor.ndim > 1 and len(tensor) > 1 else tensor.reshape(1, -1)


def _turned(state: dict[str, Tensor], matrices: Tensor) -> Tensor:
    """k x m x n into the bases."""
    if "left_basis" in state:
        matrices = state["left_basis"].mT @ matrices
    return matrices @ state["right_basis"] if "right_basis" in state else matrices.clone()


def _turned_back(state: dict[str, Tensor], matrices: Tensor) -> Tensor:
    if "left_basis" in state:
        matrices = state["left_basis"] @ matrices
    return matrices @ state["right_basis"].mT if "right_basis" in state else matrices
