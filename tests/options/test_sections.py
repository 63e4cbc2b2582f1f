"""Option files: what the original project's files mean here, and what is refused, with its line."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from bgai.errors import UsageError
from bgai.options.evaluation import TestOptions
from bgai.options.sections import PairedDataset
from bgai.options.training import TrainOptions
from bgai.options.yaml_file import read_options

ROOT = Path(__file__).parents[2]

# The keys and spellings of the original project's files, in one.
FILE = r"""# comment
name: run
model_type: SRModel
scale: 2
num_gpu: auto
manual_seed: 1234
datasets:
  train:
    name: DIV2K
    type: PairedImageDataset
    dataroot_gt: datasets\DIV2K\HR_sub
    dataroot_lq: datasets\DIV2K\X2_sub
    meta_info_file: basicsr/data/meta_info.txt
    filename_tmpl: '{}'
    io_backend:
      type: disk
    gt_size: 128
    use_hflip: true
    use_rot: true
    use_shuffle: true
    num_worker_per_gpu: 8
    batch_size_per_gpu: 64
    dataset_enlarge_ratio: 100
    prefetch_mode: ~
  val:
    name: Set5
    type: PairedImageDataset
    dataroot_gt: datasets/Set5/HR_mod2
    dataroot_lq: datasets/Set5/X2
    io_backend:
      type: disk
network_g:
  type: BGAI
  upscale_factor: 2
path:
  pretrain_network_g: ~
  strict_load_g: true
  resume_state: ~
train:
  ema_decay: 0.999
  optim_g:
    type: Adam
    lr: !!float 5e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  scheduler:
    type: MultiStepLR
    milestones: [250000, 400000]
    gamma: 0.5
  total_iter: 500000
  warmup_iter: -1
  pixel_opt:
    type: L1Loss
    loss_weight: 1.0
    reduction: mean
val:
  val_freq: !!float 5e3
  save_img: false
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 2
      test_y_channel: true
logger:
  print_freq: 100
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: ~
  wandb:
    project: ~
    resume_id: ~
dist_params:
  backend: nccl
  port: 29500
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.yml"


def read(path: Path, text: str = FILE, overrides: tuple[str, ...] = ()) -> TrainOptions:
    path.write_text(text)
    return read_options(path, TrainOptions, overrides)


def test_a_file_of_the_original_project(path: Path) -> None:
    options = read(path)
    assert options.datasets.train.dataroot_gt == Path("datasets/DIV2K/HR_sub")
    assert options.datasets.validation["val"].name == "Set5"
    assert options.train.optim_g.lr == 5e-4
    assert options.train.optim_g.betas == (0.9, 0.99)
    assert options.val.val_freq == 5000
    assert options.logger.use_tb_logger is False
    assert options.train.grad_clip is None


def test_numbers_without_a_point_are_numbers(path: Path) -> None:
    assert read(path, FILE.replace("!!float 5e-4", "5e-4")).train.optim_g.lr == 5e-4


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_files_in_the_repository(scale: int) -> None:
    options = read_options(ROOT / f"options/train/BGAI/train_BGAI_x{scale}.yml", TrainOptions)
    assert options.scale == scale
    assert options.datasets.train.gt_size == 64 * scale
    assert options.train.optim_g.betas == (0.9, 0.999)


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("    use_hflip:", "    use_hflp:", "18: unknown key 'use_hflp'; did you mean 'use_hflip'?"),
        ("  total_iter:", "  total_iters:", "total_iters'; did you mean 'total_iter'?"),
        ("  scheduler:\n", "  shedule:\n", "unknown key 'shedule'; did you mean 'scheduler'?"),
        ("    gamma:", "    quux:", "unknown key 'quux'; known here are .*gamma, milestones"),
        ("scale: 2\n", "scale: 5\n", "4: scale: input should be 2, 3 or 4; found 5"),
        ("ema_decay: 0.999", "ema_decay: fast", "40: train:ema_decay: .*valid number.*'fast'"),
        ("    name: Set5\n", "", "datasets:val: expected 'name' here"),
        ("  val:\n    name", "  vol:\n    name", "unknown key 'vol'; expected 'train'"),
        ("upscale_factor: 2", "upscale_factor: 3", "upscale_factor 3 does not agree with scale 2"),
        ("MultiStepLR", "StepLR", "train:scheduler: .*'StepLR'.*'CosineAnnealingLR'"),
        (
            "    io_backend:\n      type: disk\nnetwork",
            "    gt_size: 3\nnetwork",
            "'gt_size' here; it belongs below datasets:train",
        ),
        ("manual_seed:", "print_freq: 3\nmanual_seed:", "unknown key 'print_freq' here; it belongs below logger"),
        ("lr: !!float 5e-4", "lr: .inf", "lr: input should be a finite number"),
        (
            "  val:\n",
            "  val_2: {name: Set5, dataroot_gt: x}\n  val:\n",
            "sets of different names; found Set5, Set5",
        ),
        ("name: run", "name: \x00", "not YAML: unacceptable character"),
        ("  type: BGAI\n", "  type: BGAI\n  channels: 51\n", "channels 51: expected a multiple of 4"),
        ("total_iter: 500000", "minutes: 5", "with 'minutes' expected the scheduler"),
        ("total_iter: 500000", "total_iter: 5\n  minutes: 5", "one of 'total_iter' and 'minutes'"),
        ("num_gpu: auto", "num_gpu: auto\nnum_gpu: 0", "6: 'num_gpu' is there already, in line 5"),
        ("    betas:", "    task: SR\n    betas:", "unknown key 'task' here; it belongs below datasets"),
        ("    lr:", "    momentum: 0.9\n    lr:", "momentum: Adam has no such setting"),
        ("SRModel", "RealESRGANModel", "RealESRGANModel works in a way that is not known here; expected 'SRModel'"),
        ("SRModel", "swin", "expected a name such as 'SRModel'; found 'swin'"),
        ("L1Loss", "GANLoss", "'L1Loss', 'MSELoss' or 'CharbonnierLoss'; found 'GANLoss'"),
        ("    gt_size: 128", "    color: y\n    gt_size: 128", "unknown key 'color'; known here are"),
        (
            r"dataroot_lq: datasets\DIV2K\X2_sub",
            "dataroot_lq: [a, b]",
            "expected as many folders dataroot_lq as dataroot_gt; found 1 and 2",
        ),
        ("'{}'", "'x4'", "expected one {} in the place of the name"),
        ("name: run", "name: ../run", "without slashes"),
        ("name: run", "name: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(path: Path, line: str, instead: str, message: str) -> None:
    assert line in FILE
    with pytest.raises(UsageError, match=rf"train\.yml:.*{message}".replace("{}", r"\{\}").replace("?", r"\?")):
        read(path, FILE.replace(line, instead, 1))


MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALIASES, r"train\.yml:\d+: its aliases stand for more than 20,000 values"),
        (MERGES, r"train\.yml:\d+: its aliases stand for more than 20,000 values"),
        ("name: &a [*a]", r"train\.yml:1: an alias of what it lies in"),
        ("name: &a {b: {c: *a}}", r"train\.yml:1: an alias of what it lies in"),
        ("name: &a\n  <<: *a", r"train\.yml:\d: an alias of what it lies in"),
        ("[" * 100_000, r"train\.yml: nested more than 50 deep"),
        ("name: " + "[" * 60 + "]" * 60, r"train\.yml:1: nested more than 50 deep"),
        ("scale: " + "9" * 5000, r"train\.yml:1: a value of 5,000 characters"),
        ("scale: " + "9" * 3000, r"train\.yml:1: '\[\.\.\.\]' is no number below 2\^63"),
        ("scale: 9223372036854775808", r"train\.yml:1: '9223372036854775808' is no number below"),
        ("scale: 0x" + "f" * 3000, r"is no number below"),
        ("scale: !!int cat", r"is no number below"),
        ("scale: !!float cat", r"train\.yml: not YAML: could not convert string to float"),
        ("name: 2020-13-45", r"train\.yml: not YAML: month must be in 1\.\.12"),
        ("? [a]\n: b", r"train\.yml:1: not YAML: a key that is no text"),
        ("? {a: b}\n: b", r"train\.yml:1: not YAML: a key that is no text"),
        ("a: b\n" * 300_000, r"more than 1000 kB"),
        ("name: !!python/object/apply:os.system [id]", r"train\.yml:1: not YAML: could not determine a constructor"),
    ],
    ids=range(18),
)
def test_files_that_mean_harm_are_one_line_in_no_time(path: Path, text: str, message: str) -> None:
    started = time.process_time()
    with pytest.raises(UsageError, match=message) as error:
        read(path, text)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 400
    assert time.process_time() - started < 5


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 400, "&a [*a]", "2020-13-45", "!!timestamp x"])
def test_overrides_that_mean_harm_are_one_line(path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="--force_yml name") as error:
        read(path, overrides=(f"name={value}",))
    assert len(str(error.value).splitlines()) == 1


def test_an_override_that_is_no_yaml_is_text(path: Path) -> None:
    assert read(path, overrides=("path:pretrain_network_g=@mine",)).path.pretrain_network_g == "@mine"


def test_aliases_and_merges_are_allowed(path: Path) -> None:
    backend = "    io_backend:\n      type: disk\n"
    aliased = FILE.replace(backend + "    gt_size", "    io_backend: &disk {type: disk}\n    gt_size")
    aliased = aliased.replace(backend + "network", "    io_backend: {<<: *disk}\nnetwork")
    assert "*disk" in aliased
    assert read(path, aliased) == read(path, FILE)


@pytest.mark.parametrize("suffix", ["/../../evil", "..", "'a\\b'"])
def test_names_of_pictures_stay_in_their_folder(path: Path, suffix: str) -> None:
    with pytest.raises(UsageError, match=r"val:suffix=.*: expected a name that a folder can have"):
        read(path, overrides=(f"val:suffix={suffix}",))
    with pytest.raises(UsageError, match=r"filename_tmpl=.*: expected a name"):
        read(path, overrides=("datasets:val:filename_tmpl=../{}",))


def test_low_precision_has_one_name(path: Path) -> None:
    assert read(path).train.precision == "float32"
    assert read(path, overrides=("train:precision=half",)).train.precision == "half"
    earlier = read(path, overrides=("train:bfloat16=true",))
    assert earlier.train.precision == "half"
    assert earlier == read(path, earlier.as_json())
    assert read(path, overrides=("train:bfloat16=false",)).train.precision == "float32"
    with pytest.raises(UsageError, match="should be 'float32' or 'half'; found 'bfloat16'"):
        read(path, overrides=("train:precision=bfloat16",))


def test_everything_that_is_wrong_is_said_at_once(path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read(path, FILE.replace("use_rot", "use_rott").replace("gamma", "gama"))
    assert len(str(error.value).splitlines()) == 2


def test_overrides_replace_and_add(path: Path) -> None:
    options = read(path, overrides=("train:optim_g:lr=1e-3", "train:grad_clip=0.5", r"path:pretrain_network_g=a\b.pth"))
    assert options.train.optim_g.lr == 1e-3
    assert options.train.grad_clip == 0.5
    assert options.path.pretrain_network_g == "a/b.pth"


def test_an_override_with_null_is_the_default(path: Path) -> None:
    scheduler = "train:scheduler={type: CosineAnnealingLR}"
    options = read(path, overrides=("train:total_iter=~", "train:minutes=3", scheduler))
    assert options.train.minutes == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("vall:save_img=true", "--force_yml vall:save_img=true: unknown key 'vall'; did you mean 'val'"),
        ("train:lrr=1", "--force_yml train:lrr=1: unknown key 'lrr'; did you mean 'lr'"),
        ("train:grad_clip=0", "--force_yml train:grad_clip=0: input should be greater than 0; found 0"),
        ("manual_seed=-1", "--force_yml manual_seed=-1: input should be greater"),
        ("datasets:val:foo=1", "unknown key 'foo'; known here are dataroot_gt, dataroot_lq"),
        (
            "datasets:train:degradation={}",
            "degradation={}: expected one at least of 'blur', 'noise', 'webp' and 'jpeg'",
        ),
        ("datasets:train:degradation={jpg: {quality: 9}}", "unknown key 'jpg'; did you mean 'jpeg'?"),
        ("datasets:val:degradation={jpeg: {}}", "expected 'quality' here"),
        ("datasets:val:degradation={jpeg: {quality: 101}}", "less than or equal to 100; found 101"),
        ("datasets:val:degradation={jpeg: {quality: [0, 50]}}", "greater than or equal to 1; found 0"),
        ("datasets:val:degradation={jpeg: {quality: [60, 50]}}", "expected the lowest first; found [60, 50]"),
        ("datasets:val:degradation={webp: {quality: [1, 2, 3]}}", "a number or [lowest, highest]; found [1, 2, 3]"),
        ("datasets:val:degradation={webp: {quality: high}}", "expected a number or [lowest, highest]; found 'high'"),
        ("datasets:val:degradation={jpeg: {quality: 9, subsampling: 4:2:2}}", "'4:4:4' or 'either'; found '4:2:2'"),
        ("datasets:val:degradation={jpeg: {quality: 9, twice: 2}}", "less than or equal to 1; found 2"),
        ("datasets:val:degradation={noise: {sigma: 0}}", "greater than or equal to 0.1; found 0"),
        ("datasets:val:degradation={blur: {sigma: [1, 11]}}", "less than or equal to 10; found 11"),
        ("train:teacher={}", "expected a weight above 0 for one of 'features', 'maps' and 'output'"),
        ("train:teacher={maps: 1}", "expected a weight 'features' above 0"),
        ("train:teacher={features: 1, ensemble: true}", "expected a weight 'output' above 0"),
        ("train:teacher={output: -1}", "greater than or equal to 0; found -1"),
        ("train:teacher={outputs: 1}", "unknown key 'outputs'; did you mean 'output'?"),
        ("train:pixel_opt:loss_weight=0", "pixel_opt.loss_weight: expected more than 0 without another term"),
        ("train:optim_g:type=Lion", "'Adam', 'AdamW', 'SGD' or 'SOAP'; found 'Lion'"),
        ("train", "expected keys and a value"),
        ("scale:a=1", "'scale' is a value, not a section"),
    ],
)
def test_wrong_overrides_are_refused(path: Path, override: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        read(path, overrides=(override,))


def test_a_missing_file_and_an_empty_one(path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_options(path, TrainOptions)
    with pytest.raises(UsageError, match="expected an option file"):
        read(path, "")


@pytest.mark.parametrize("override", ["- " * 3000, ":=" + "- " * 3000, "a:" * 3000 + "a=[", "name=" + "[] " * 1000])
def test_messages_do_not_repeat_long_overrides(path: Path, override: str) -> None:
    with pytest.raises(UsageError) as error:
        read(path, overrides=(override,))
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_a_number_is_a_range_and_subsampling_needs_no_quotes(path: Path, subsampling: str) -> None:
    jpeg = f"{{quality: 40, subsampling: {subsampling}}}"
    options = read(path, overrides=(f"datasets:val:degradation={{jpeg: {jpeg}, noise: {{sigma: [1, 2.5]}}}}",))
    degradation = options.datasets.validation["val"].degradation
    assert degradation
    assert degradation.jpeg
    assert degradation.noise
    assert degradation.jpeg.quality == (40, 40)
    assert degradation.jpeg.subsampling == subsampling
    assert degradation.noise.sigma == (1, 2.5)
    assert degradation.blur is None


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_files_for_photographs(scale: int) -> None:
    options = read_options(ROOT / f"options/train/BGAI/photo_x{scale}.yml", TrainOptions)
    train = options.datasets.train
    assert (options.scale, train.gt_size) == (scale, 48 * scale)
    assert train.degradation
    assert train.degradation.jpeg
    assert train.degradation.jpeg.quality == (25, 96)
    assert options.path.pretrain_network_g == "bgai"
    tests = read_options(ROOT / f"options/test/BGAI/test_photo_x{scale}.yml", TestOptions)
    sets = {each.name: each.degradation for each in tests.datasets.all() if isinstance(each, PairedDataset)}
    assert tests.scale == scale
    assert sets["B100"] is None
    assert (compressed := sets["B100_jpeg40"])
    assert compressed.jpeg
    assert (compressed.jpeg.quality, compressed.jpeg.subsampling) == ((40, 40), "4:2:0")


def test_attention_without_maps_has_none_to_compare(path: Path) -> None:
    teacher = "train:teacher={features: 1, maps: 0.3}"
    with pytest.raises(UsageError, match="fused: attentions without stored maps"):
        read(path, overrides=(teacher, "train:fused=true"))
    assert read(path, overrides=(teacher,)).train.teacher
    assert read(path, overrides=("train:teacher={output: 1}", "train:fused=true")).train.teacher


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_files_that_learn_from_a_teacher(scale: int) -> None:
    options = read_options(ROOT / f"options/train/BGAI/teacher_x{scale}.yml", TrainOptions)
    assert (options.scale, options.datasets.train.gt_size) == (scale, 32 * scale)
    assert options.train.teacher
    assert options.train.teacher.weights == "official"


def test_settings_survive_the_way_through_json(path: Path) -> None:
    options = read(path, overrides=("datasets:train:degradation={jpeg: {quality: [30, 90]}}",))
    assert options == read(path, options.as_json())  # JSON is YAML
