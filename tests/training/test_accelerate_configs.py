"""Each file of accelerate_configs/ through accelerate's own loader and launcher, and what each asks of a recipe."""

import os
import re

import pytest
import yaml
from accelerate import DeepSpeedPlugin, PartialState
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from conftest import REPO

from ra_ner.commands import train as train_sft
from ra_ner.errors import UserError
from ra_ner.training import launch_checks as launch

CONFIGS = {path.stem: path for path in (REPO / "accelerate_configs").glob("*.yaml")}
SEVERAL = ["ddp", "multi_node", "zero2", "zero3", "fsdp2", "fsdp_qlora"]
RECIPE = str(REPO / "recipes" / "zh_10k.yaml")
STORAGE = ["--bnb_4bit_quant_storage", "bfloat16"]


def arguments_of_launch(config: str):
    """What `accelerate launch --config_file ... train_sft.py` makes of a file."""
    command = ["--config_file", str(CONFIGS[config]), "train_sft.py"]
    return _validate_launch_command(launch_command_parser().parse_args(command))[0]


def test_the_set_ups_are_all_there():
    assert sorted(CONFIGS) == sorted([*SEVERAL, "single_gpu", "cpu"])


@pytest.mark.parametrize("config", CONFIGS)
def test_accelerate_loads_it_and_knows_every_key(config):
    load_config_from_file(str(CONFIGS[config]))  # refuses unknown keys, but not those of inner sections
    content = yaml.safe_load(CONFIGS[config].read_text())
    known = vars(launch_command_parser().parse_args(["train_sft.py"]))
    for section in ("fsdp_config", "deepspeed_config"):
        assert content.get(section, {}).keys() <= known.keys()


@pytest.mark.parametrize("config", [*SEVERAL, "single_gpu"])
def test_what_we_could_not_run_says_so(config):
    header = re.match(r"(#.*\n)+", CONFIGS[config].read_text())[0]
    assert re.search(r"not run (on GPUs )?by us", header)


@pytest.fixture
def launched(monkeypatch):
    """The arguments of train_sft.py as a process sees them that accelerate started from a file, on GPUs."""

    def start(config: str, *flags: str):
        for name in os.environ:
            if name.startswith(("ACCELERATE_", "FSDP_")):
                monkeypatch.delenv(name)
        _, _, model_args, args, _ = train_sft.make_parser().parse_recipe([RECIPE, *flags])
        monkeypatch.setitem(PartialState._shared_state, "distributed_type", DistributedType.MULTI_GPU)
        monkeypatch.setitem(PartialState._shared_state, "num_processes", 2)
        arguments = arguments_of_launch(config)
        arguments.deepspeed_fields_from_accelerate_config = ""  # as launch_command does
        zero = config.startswith("zero")
        environment = prepare_deepspeed_cmd_env(arguments)[1] if zero else prepare_multi_gpu_env(arguments)
        for name, value in environment.items():
            if name.startswith(("ACCELERATE_", "FSDP_")):
                monkeypatch.setenv(name, value)
        args.deepspeed_plugin = DeepSpeedPlugin() if zero else None
        return model_args, args

    return start


@pytest.mark.parametrize(
    "config, flags",
    [
        ("ddp", []),
        ("multi_node", []),
        ("zero2", []),
        ("zero3", STORAGE),
        ("fsdp2", ["--load_in_4bit", "false"]),
        ("fsdp_qlora", STORAGE),
        ("fsdp_qlora", [*STORAGE, "--optim", "adamw_torch_8bit"]),
    ],
)
def test_the_papers_recipe_can_be_launched(launched, config, flags):
    launch.check(*launched(config, *flags))


@pytest.mark.parametrize(
    "config, flags, message",
    [
        ("fsdp_qlora", [], "write `bnb_4bit_quant_storage: bfloat16`, equal to `dtype`, or use ddp.yaml"),
        ("fsdp_qlora", ["--bnb_4bit_quant_storage", "float32"], "write `bnb_4bit_quant_storage: bfloat16`"),
        ("zero3", [], "write `bnb_4bit_quant_storage: bfloat16`"),
        ("fsdp2", ["--load_in_4bit", "false", "--load_in_8bit", "true"], "8-bit weights can't be sharded"),
        ("fsdp_qlora", [*STORAGE, "--optim", "paged_adamw_8bit"], "`optim: paged_adamw_8bit` can't be used under FSDP"),
        ("fsdp_qlora", [*STORAGE, "--optim", "ademamix"], "can't be used under FSDP: write `adamw_torch_fused`"),
        ("ddp", ["--model_init_kwargs", '{"device_map": "auto"}'], "`device_map` can't be used with several processes"),
        ("ddp", ["--fsdp", "full_shard"], "`fsdp` and `deepspeed` are not keys of a recipe"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_model_is_loaded(launched, config, flags, message):
    with pytest.raises(UserError, match=message):
        launch.check(*launched(config, *flags))


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("FSDP_VERSION", "1", "only FSDP2 is supported: write `fsdp_version: 2`"),
        ("FSDP_STATE_DICT_TYPE", "SHARDED_STATE_DICT", "write `fsdp_state_dict_type: FULL_STATE_DICT`"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", "write `fsdp_activation_checkpointing: false`"),
    ],
)
def test_an_fsdp_config_of_ones_own_is_checked_too(launched, monkeypatch, name, value, message):
    arguments = launched("fsdp2", "--load_in_4bit", "false")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        launch.check(*arguments)


@pytest.mark.parametrize("config", ["fsdp2", "zero3"])
def test_sharing_a_model_out_without_gpus_is_refused(launched, monkeypatch, config):
    arguments = launched(config, *STORAGE)
    monkeypatch.setitem(PartialState._shared_state, "distributed_type", DistributedType.MULTI_CPU)
    with pytest.raises(UserError, match="this run has a single device"):
        launch.check(*arguments)


def test_one_process_that_sees_several_gpus_is_refused(launched):
    model_args, args = launched("single_gpu")
    args._n_gpu = 4
    with pytest.raises(UserError, match="one process sees 4 GPUs.*--num_processes 4.*CUDA_VISIBLE_DEVICES=0"):
        launch.check(model_args, args)
