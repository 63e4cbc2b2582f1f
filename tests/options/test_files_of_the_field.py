"""Option files of projects that build on BasicSR: what has an exact meaning here is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgai.errors import UsageError
from bgai.options.evaluation import TestOptions
from bgai.options.training import TrainOptions
from bgai.options.yaml_file import read_options

TRAINING = """
name: run
model_type: HATModel
scale: 2
use_amp: true
print_network: false
datasets:
  train:
    task: SR
    name: DF2K
    type: PairedImageDataset
    dataroot_gt: [DIV2K/HR, Flickr2K/HR]
    dataroot_lq: [DIV2K/X2, Flickr2K/X2]
    gt_size: 128
    batch_size_per_gpu: 4
  val_1:
    task: SR
    name: Set5
    type: ImageNetPairedDataset
    dataroot_gt: Set5/HR
path:
  experiments_root: elsewhere
train:
  optim_g: {type: SGD, lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.01}
  scheduler: {type: MultiStepLR, milestones: [5]}
  total_iter: 10
  pixel_opt: {type: CharbonnierLoss, loss_weight: 1.0, reduction: mean, eps: !!float 1e-9}
  fft_opt: {type: FFTLoss, loss_weight: 0.05, reduction: mean}
val:
  use_chop: false
  metrics:
    lpips: {type: pyiqa, metric: lpips, better: lower}
logger:
  wandb: {project: hat, resume_id: ~}
"""

TESTING = """
name: run
model_type: ESRGANModel
scale: 4
print_network: false
tile: {tile_size: 256, tile_pad: 32}
datasets:
  test_1:
    task: SR
    name: photographs
    type: SingleImageDataset
    dataroot_lq: photographs
    io_backend: {type: disk}
    save_img: true
path:
  results_root: elsewhere
"""


def test_a_training(tmp_path: Path) -> None:
    (tmp_path / "train.yml").write_text(TRAINING)
    options = read_options(tmp_path / "train.yml", TrainOptions)
    assert options.datasets.train.gt_folders == (Path("DIV2K/HR"), Path("Flickr2K/HR"))
    assert options.datasets.validation["val_1"].dataroot_lq is None
    assert (options.train.precision, options.path.experiments_root) == ("half", Path("elsewhere"))
    assert (options.train.optim_g.type, options.train.optim_g.momentum) == ("SGD", 0.9)
    assert (options.train.pixel_opt.type, options.train.pixel_opt.eps) == ("CharbonnierLoss", 1e-9)
    assert options.notes() == ["model_type HATModel: taken as SRModel"]
    assert options.logger.wandb.project == "hat"
    assert "elsewhere" not in options.without_places()


def test_a_test(tmp_path: Path) -> None:
    (tmp_path / "test.yml").write_text(TESTING)
    options = read_options(tmp_path / "test.yml", TestOptions)
    assert (options.tile, options.path.results_root) == (256, Path("elsewhere"))
    assert options.keeps_images(options.datasets.all()[0])
    assert options.notes() == ["model_type ESRGANModel: taken as SRModel"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    save_img: true", "    gt_size: 3", "unknown key 'gt_size'"),
        ("    save_img: true", "    dataroot_gt: x", "unknown key 'dataroot_gt' here; it goes with another 'type'"),
        ("    save_img: true", "    save_img: false", "save_img: expected true for photographs, of which nothing is"),
        ("tile_pad", "tile_pads", "tile_pads"),
        ("SingleImageDataset", "VideoTestDataset", "found 'VideoTestDataset'"),
        ("SingleImageDataset\n", "PairedImageDataset\n    dataroot_gt: x\n", "expected 'metrics' for photographs"),
    ],
)
def test_what_has_none_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TESTING
    (tmp_path / "test.yml").write_text(TESTING.replace(old, new))
    with pytest.raises(UsageError) as error:
        read_options(tmp_path / "test.yml", TestOptions)
    assert message in str(error.value)
