"""What a step minimises: a student that is the teacher has nothing left to learn."""

from __future__ import annotations

import copy

import pytest
import torch
from support import filled_network

from bgai.network.model import BGAI
from bgai.training.objective import Objective, forced_errors, self_ensemble

LR = torch.rand((2, 3, 16, 24), generator=torch.Generator().manual_seed(0))
HR = torch.rand((2, 3, 32, 48), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def teacher() -> BGAI:
    return filled_network(2).requires_grad_(False)


def student_of(teacher: BGAI) -> BGAI:
    student = copy.deepcopy(teacher).requires_grad_(True)
    for module in student.groups[0].modules():
        if isinstance(temperature := getattr(module, "temperature", None), torch.nn.Parameter):
            temperature.requires_grad_(False)
    return student


def test_the_teacher_itself_has_no_errors(teacher: BGAI) -> None:
    features, maps, sr = forced_errors(student_of(teacher), teacher, LR)
    assert features.item() == 0
    assert maps.item() == 0
    torch.testing.assert_close(sr, teacher(LR))


@pytest.mark.parametrize(
    ("part", "features", "maps"),
    [
        ("shallow", True, False),
        ("groups.0.mixing1.join", True, False),
        ("groups.1.blocks.0.router", True, True),
        ("groups.3.blocks.1.mlp.narrow", True, False),
        ("groups.2.bypass", True, False),
        ("refine.spread", True, False),
        ("head", True, False),
    ],
)
def test_a_wrong_part_is_seen_and_alone_gets_gradients(teacher: BGAI, part: str, features: bool, maps: bool) -> None:
    student = student_of(teacher)
    with torch.no_grad():
        student.get_parameter(f"{part}.weight").mul_(1.5)
    found_features, found_maps, _ = forced_errors(student, teacher, LR)
    assert (found_features.item() > 1e-5) == features
    assert (found_maps.item() > 1e-5) == maps
    (found_features + found_maps).backward()  # type: ignore[no-untyped-call]
    changed = {
        name.split(".blocks")[0] for name, p in student.named_parameters() if p.grad is not None and p.grad.any()
    }
    owners = {"refine": ("refine", "fuse")}  # these two are one part
    owner = ".".join(part.split(".")[:2]) if part.startswith("groups") else part.split(".")[0]
    assert all(name.startswith(owners.get(owner, owner)) for name in changed)


def test_every_trained_parameter_gets_a_gradient(teacher: BGAI) -> None:
    torch.manual_seed(0)
    student = BGAI(teacher.config)
    objective = Objective(student, teacher, pixels=0, features=1, maps=0.3)
    objective(LR, HR).sum().backward()
    assert [name for name, p in student.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(p.grad is None for p in teacher.parameters())


def test_terms_come_with_their_weights(teacher: BGAI) -> None:
    torch.manual_seed(0)
    student = BGAI(teacher.config)
    objective = Objective(student, teacher, pixels=3, features=1, maps=0.5, output=2)
    assert objective.names == ["pixels", "features", "maps", "output"]
    pixels, features, maps, output = objective(LR, HR)
    expected_features, expected_maps, _ = forced_errors(student, teacher, LR)
    torch.testing.assert_close(pixels, 3 * (student(LR) - HR).abs().mean())
    torch.testing.assert_close(features, expected_features)
    torch.testing.assert_close(maps, 0.5 * expected_maps)
    torch.testing.assert_close(output, 2 * (student(LR) - teacher(LR)).abs().mean())
    plain = Objective(student)
    assert plain.names == ["pixels"]
    torch.testing.assert_close(plain(LR, HR), pixels[None] / 3)


def test_the_teacher_is_no_part_of_the_state(teacher: BGAI) -> None:
    student = student_of(teacher)
    objective = Objective(student, teacher, output=1)
    assert len(objective.state_dict()) == len(student.state_dict())
    assert len(list(objective.parameters())) == len(list(student.parameters()))


def test_an_ensemble_is_the_mean_of_all_orientations(teacher: BGAI) -> None:
    ensemble = self_ensemble(teacher, LR)
    turned = [LR, LR.flip(-1), LR.flip(-2), LR.flip(-1, -2)]
    turned += [picture.mT for picture in turned]
    results = [teacher(picture) for picture in turned]
    back = [results[0], results[1].flip(-1), results[2].flip(-2), results[3].flip(-1, -2)]
    back += [results[4].mT, results[5].mT.flip(-1), results[6].mT.flip(-2), results[7].mT.flip(-1, -2)]
    torch.testing.assert_close(ensemble, torch.stack(back).mean(0), atol=1e-5, rtol=1e-4)
    for picture in (LR.flip(-1), LR.flip(-2)):
        again = self_ensemble(teacher, picture)
        torch.testing.assert_close(again.mean(), ensemble.mean(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(self_ensemble(teacher, LR.mT), ensemble.mT, atol=1e-5, rtol=1e-4)
    objective = Objective(student_of(teacher), teacher, pixels=0, output=1, ensemble=True)
    torch.testing.assert_close(objective(LR, HR)[0], (teacher(LR) - ensemble).abs().mean())
