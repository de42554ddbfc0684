"""Recipes: strict YAML files, one for each experiment, with a section for each command.

    recipe.yaml --extends--> sections --checked like flags--> dataclasses

The keys of a section are the flags of its command and are checked in the same way: a misspelt key, a wrong type and a
wrong choice each end in a one-line error. Values follow YAML 1.2: only `true` and `false` are booleans, so
`eval_strategy: no` is the word, and `1e-4` is a number.
"""

import argparse
import dataclasses
import difflib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

import yaml
from transformers import HfArgumentParser

from . import foreign_files
from .errors import UserError, refuse_secrets
from .paths import resource
from .recipe_keys import DatasetConfig, EvaluateConfig, PushDatasetConfig, PushScoresConfig

# Each section, and the folder below outputs/<recipe> that its command writes. `train` writes several.
SECTIONS = {"dataset": "dataset", "train": ".", "evaluate": "evaluation"}
TOP_LEVEL = ("extends", "language", "task", *SECTIONS)

# Keys that transformers and TRL have removed but many published recipes still use, and what to write instead.
DEAD_KEYS = {
    "chat_template": "use `chat_template_path: FILE.jinja`",
    "evaluation_strategy": "write `eval_strategy`",
    "group_by_length": "write `train_sampling_strategy: group_by_length`",
    "include_tokens_per_second": "write `include_num_input_tokens_seen: true`",
    "logging_dir": "set the environment variable TENSORBOARD_LOGGING_DIR",
    "max_seq_length": "write `max_length`",
    "no_cuda": "write `use_cpu`",
    "overwrite_output_dir": "delete it; a run resumes with `resume_from_checkpoint: true`, else starts afresh",
    "push_to_hub_token": "log in with `hf auth login` or set the environment variable HF_TOKEN",
    "save_safetensors": "delete it; safetensors is the only format written",
    "torch_dtype": "write `dtype`",
    "warmup_ratio": "write `warmup_steps: 0.03`; below 1 it is a share of all steps",
}

# Keys of this library that had another name.
RENAMED_KEYS = {"labels": "tag_names"}

# Keys that may name a file or a folder. A relative path is looked for beside the recipe first, see `_resolve_paths`.
PATH_KEYS = {
    "dataset": ("corpus", "tag_names", "encoder", "exclude"),
    "train": ("model_name_or_path", "chat_template_path", "dataset_name"),
    "evaluate": ("models", "benchmarks", "pool", "encoder"),
}

# Flags that describe one call of a command, not an experiment.
FLAGS_ONLY = {
    "output_dir": "a run is written to outputs/<recipe>; use `--output_dir` for another folder",
    "dry_run": "write `--dry_run`",
    "merge": "write `--merge`",
    "verbose": "write `--verbose`",
}


@dataclass(frozen=True)
class Recipe:
    """A recipe: its file, its language, its task, and the sections of the file merged over those that it extends."""

    path: Path
    language: str
    sections: dict[str, dict[str, Any]]
    task: str = "ner"

    @property
    def name(self) -> str:
        """The file's stem. It names the run in outputs, cards and reports."""
        return self.path.stem

    @property
    def output_dir(self) -> Path:
        return Path("outputs") / self.name

    @cached_property
    def dataset(self) -> DatasetConfig:
        """Section `dataset`, for commands that do not have its flags."""
        return RecipeParser("dataset", DatasetConfig, PushDatasetConfig).parse_section(self)[0]

    @cached_property
    def evaluate(self) -> EvaluateConfig:
        """Section `evaluate`, for commands that do not have its flags."""
        return RecipeParser("evaluate", EvaluateConfig, PushScoresConfig).parse_section(self)[0]


class _RecipeLoader(yaml.SafeLoader):
    """SafeLoader with the booleans and decimal numbers of YAML 1.2. A repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in keys.items():
            if count > 1:
                problem = f"key `{key}` is given twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


foreign_files.use_booleans_of_yaml_1_2(_RecipeLoader, "int", "float", "timestamp")
_RecipeLoader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9]\d*)$"), list("-+0123456789"))
_RecipeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    # Without a point at most two digits stand around the e: 5e-4 is a number, 1234e56 may be a commit.
    re.compile(r"^[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d{1,2}[eE][-+]?\d{1,2})$"),
    list("-+.0123456789"),
)


def nearest_key(name: str, known: list[str]) -> str:
    """The end of an error message that suggests the nearest known key, empty if none is near."""
    if (new := RENAMED_KEYS.get(name)) in known:
        return f"; it is called `{new}` now"
    # A known key that the name begins with wins: `lora_rank` means `lora_r`, although `local_rank` shares more letters.
    longer = sorted((key for key in known if len(key) > 3 and name.startswith(key)), key=len, reverse=True)
    match = longer or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean `{match[0]}`?" if match else ""


def parse_yaml(text: str) -> Any:
    """Parse YAML by the rules of a recipe.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return foreign_files.parse_yaml(text, _RecipeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a recipe, or in a study's grid file.

    Raises:
        UserError: the file can't be read, is not a mapping, or holds a secret.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe (looked in {path.parent.resolve()})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{path}: {where}not valid YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys to values, see recipes/quickstart.yaml")
    refuse_secrets(content, f"{path}: ")
    return content


def find_recipe(name: str, folder: Path) -> Path:
    """Find a recipe file: a path relative to `folder`, or the name of a built-in recipe.

    Raises:
        UserError: neither exists.
    """
    path, built_in = folder / name, resource("recipes")
    if path.is_file() or Path(name).is_absolute():
        return path
    shipped = built_in / name.removeprefix("recipes/").removesuffix(".yaml")
    if (file := shipped.with_suffix(".yaml")).is_file():
        return file
    known = sorted(str(file.relative_to(built_in).with_suffix("")) for file in built_in.rglob("*.yaml"))
    hint = nearest_key(Path(name).stem, known) or f"; built-in recipes are {', '.join(known)}"
    raise UserError(f"{path}: no such recipe (looked in {path.parent.resolve()} and among the built-in ones){hint}")


def _resolve_paths(content: dict[str, Any], folder: Path) -> None:
    """Resolve relative paths against the recipe's folder, where the file or folder exists there.

    All other values stay as they are: paths relative to the current folder, Hub ids, and names. A benchmark may be
    written NAME=PATH.
    """

    def resolve(value: object) -> object:
        if isinstance(value, list):
            return [resolve(item) for item in value]
        if not isinstance(value, str):
            return value
        name, equals, rest = value.partition("=")
        for prefix, path in (("", value), (name + equals, rest)):
            if path and not Path(path).is_absolute() and (folder / path).exists():
                return f"{prefix}{folder / path}"
        return value

    for section, keys in PATH_KEYS.items():
        for key in keys:
            if key in content.get(section, {}):
                content[section][key] = resolve(content[section][key])


def check_unpacked(*names: str | None) -> None:
    """Check that models in the folder models/, where `ra-ner models` puts those of the quickstart, are there.

    Raises:
        UserError: one is not. Otherwise it would be looked for on the Hub.
    """
    for name in names:
        if name and name.startswith("models/") and not Path(name).exists():
            command = f"ra-ner models {Path(name).name}"
            raise UserError(f"{name} does not exist (looked in {Path.cwd()}): unpack it with `{command}`")


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe and all that it extends. Section keys are checked later, by the command that owns them.

    Args:
        path: a file, or the name of a built-in recipe such as `quickstart`.

    Raises:
        UserError: the file is missing, is no YAML mapping, has an unknown top-level key, or extends itself; or its name
            can't be one of a config of a dataset.
    """
    path = find_recipe(str(path), Path())
    if wrong := re.search(r"[]<>:\\|?*[]", path.stem):  # `load_dataset` refuses them, or takes them for a pattern
        raise UserError(
            f"{path}: the name of a recipe names its dataset, which may have no {wrong[0]}: rename the file"
        )
    chain: list[tuple[Path, dict[str, Any]]] = []
    current: Path | None = path
    while current is not None:
        if current.resolve() in [seen.resolve() for seen, _ in chain]:
            raise UserError(f"{path}: `extends` leads back to {current}; remove one of the links")
        content = read_yaml(current)
        for key, value in content.items():
            if key not in TOP_LEVEL:
                nearest = nearest_key(str(key), list(TOP_LEVEL))
                raise UserError(f"{current}: unknown key `{key}`{nearest}")
            if key in SECTIONS and not isinstance(value, dict):
                raise UserError(f"{current}: `{key}` is a section: a mapping of keys to values")
        _resolve_paths(content, current.parent)
        chain.append((current, content))
        parent = content.get("extends")
        if parent is not None and not isinstance(parent, str):
            raise UserError(f"{current}: `extends` names one recipe file")
        current = find_recipe(parent, current.parent) if parent else None

    language, task, sections = None, Recipe.task, {section: {} for section in SECTIONS}
    for _, content in reversed(chain):
        language, task = content.get("language", language), str(content.get("task", task))
        for section in SECTIONS:
            sections[section].update(content.get(section, {}))
    if language not in ("en", "zh"):
        raise UserError(f"{path}: `language: {language}`: choose en or zh")
    if task != Recipe.task:
        sections["dataset"].setdefault("wording", task)  # the default of the key is that of the default task
    return Recipe(path, language, sections, task)


class _KeysFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Lists each key once, without its twin in hyphens, and its default unless that is empty or in the text."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        shown = copy(action)
        shown.option_strings = [flag for flag in action.option_strings if "-" not in flag.lstrip("-")]
        return super()._format_action_invocation(shown)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        is_said = action.default in (None, []) or "Default:" in (action.help or "")
        return action.help if is_said else super()._get_help_string(action)


class RecipeParser(HfArgumentParser):
    """Parse `RECIPE [--key value ...]` into the recipe and the dataclasses of one section.

    Args:
        section: the section whose keys are the flags of this command.
        dataclass_types: dataclasses with these keys as fields, such as TRL's ModelConfig and SFTConfig.
        help_texts: key -> help, in place of the one that its dataclass has.

    Example:
        >>> recipe, config, output = RecipeParser("dataset", DatasetConfig, OutputConfig).parse_recipe(["my.yaml"])
    """

    def __init__(
        self, section: str, *dataclass_types: type, help_texts: Mapping[str, str] | None = None, **kwargs: Any
    ):
        self.hints = {name: hint for cls in dataclass_types for name, hint in get_type_hints(cls).items()}
        usage = "%(prog)s RECIPE [--KEY VALUE ...]"
        super().__init__(dataclass_types, allow_abbrev=False, usage=usage, formatter_class=_KeysFormatter, **kwargs)
        for action in self._actions:
            action.help = (help_texts or {}).get(action.dest, action.help)
            if action.const is True:
                action.metavar = "true|false"
            elif action.const is False:  # `--no_key`, which is `--key false`
                action.help = argparse.SUPPRESS
        self.section = section
        self.add_argument("recipe", help="recipe file, or the name of a built-in one, such as quickstart")

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")

    def parse_recipe(self, args: list[str]) -> tuple[Any, ...]:
        """Parse command-line arguments. Flags override the recipe's section, which overrides the defaults.

        Returns:
            `(recipe, *dataclasses)`.

        Raises:
            UserError: the recipe or a flag is wrong.
        """
        flags, unknown = self.parse_known_args(args)
        for word in unknown:
            flag = word.split("=")[0]  # without its value, which may be a secret
            self._refuse_key(flag.lstrip("-").replace("-", "_"), f"unknown argument {flag}")
        recipe = load_recipe(flags.recipe)
        return (recipe, *self.parse_section(recipe, args))

    def parse_section(self, recipe: Recipe, args: Sequence[str] = ()) -> tuple[Any, ...]:
        """Fill the dataclasses from the recipe's section, then from the flags in `args`, which name the recipe too."""
        where = f"{recipe.path}: section {self.section}: "
        namespace = self.parse_args([str(recipe.path)])
        namespace.output_dir = str(recipe.output_dir / SECTIONS[self.section])
        for key, value in recipe.sections[self.section].items():
            try:
                self._set(namespace, str(key), value)
            except UserError as error:
                raise UserError(where + str(error).removesuffix(" (see --help)")) from None
        namespace = self.parse_args(args or [str(recipe.path)], namespace)
        del namespace.recipe
        refuse_secrets(vars(namespace), where)
        outputs = []
        for dataclass_type in self.dataclass_types:
            names = [f.name for f in dataclasses.fields(dataclass_type) if f.init]
            values = {name: getattr(namespace, name) for name in names}
            try:
                outputs.append(dataclass_type(**values))
            except (ValueError, TypeError, ImportError) as error:  # what the __post_init__ of TRL's configs raise
                raise UserError(f"{where}{error}") from None
            for name in names:
                delattr(namespace, name)
        return (*outputs, namespace) if vars(namespace) else tuple(outputs)

    def _set(self, namespace: Any, key: str, value: Any) -> None:
        """Check one key of the recipe as if it were a flag, and store its value in the namespace."""
        hint = self.hints.get(key)
        if hint is None or key in FLAGS_ONLY:
            self._refuse_key(key, f"unknown key `{key}`")
        options = get_args(hint) or (hint,)
        takes = {getattr(option, "__origin__", option) for option in (hint, *options)}
        if value is None:
            if type(None) not in takes:
                raise UserError(f"`{key}: null`: a value is needed; leave the key out to get the default")
            setattr(namespace, key, None)
        elif isinstance(value, list):
            if list not in takes:
                raise UserError(f"`{key}: {value}`: one value is needed, not a list")
            setattr(namespace, key, [])
            if value:
                words = [item if isinstance(item, str) else json.dumps(item) for item in value]
                # A union such as `str | list[str]` is a single value on the command line, a list only in YAML.
                is_flag_list = getattr(hint, "__origin__", None) is list or str not in takes
                setattr(namespace, key, self._parse_words(key, words) if is_flag_list else words)
        elif isinstance(value, dict) and dict not in takes:
            raise UserError(f"`{key}: {value}`: one value is needed, not a mapping")
        elif isinstance(value, bool) and takes.isdisjoint({bool, str}):
            raise UserError(f"`{key}: {str(value).lower()}`: not a boolean; see --help for what it takes")
        else:
            word = value if isinstance(value, str) else json.dumps(value)
            setattr(namespace, key, self._parse_words(key, [word]))

    def _parse_words(self, key: str, words: list[str]) -> Any:
        # `--key=value` keeps a value that begins with a dash from being read as a flag; lists have no such form.
        flags = [f"--{key}={words[0]}"] if len(words) == 1 else [f"--{key}", *words]
        return getattr(self.parse_args(["recipe", *flags]), key)

    def _refuse_key(self, key: str, message: str) -> NoReturn:
        if key in FLAGS_ONLY:
            raise UserError(f"`{key}` is a command-line flag, not a recipe key: {FLAGS_ONLY[key]}")
        if key in DEAD_KEYS and self.section == "train":
            raise UserError(f"`{key}` was removed from transformers or TRL: {DEAD_KEYS[key]}")
        raise UserError(message + nearest_key(key, sorted(self.hints)))
