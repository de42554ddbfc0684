"""The keys of a recipe's sections, with their defaults and help texts. They are the flags of the commands too."""

from dataclasses import dataclass, field
from typing import Literal

import yaml

from .foreign_files import parse_yaml

Strategy = Literal[
    "none",
    "nn",
    "random",
    "bm25",
    "nn_bm25",
    "diverse_nn",
    "diverse_nn_bm25",
    "diverse_nn_bm25_rank",
    "mixed_nn",
    "hybrid",
]
# Keys of section train that decide how a conversation is tokenised.
TOKENIZER_KEYS = ("model_name_or_path", "model_revision", "chat_template_path")
WITHOUT_ENCODER = ("none", "random", "bm25")
ENCODERS = {"en": "thenlper/gte-large", "zh": "thenlper/gte-large-zh"}  # of the paper


def _check_numbers(config: object, counts: tuple[str, ...], shares: tuple[str, ...] = ()) -> None:
    """Check that counts are at least 1, shares are from 0 to 1, and k is not negative.

    Raises:
        ValueError: one is not. The parser turns it into a one-line error.
    """
    for key, least in {"k": 0, **dict.fromkeys(counts, 1)}.items():
        if (value := getattr(config, key)) is not None and value < least:
            raise ValueError(f"`{key}: {value}`: at least {least} is needed")
    for key in shares:
        if not 0 <= (value := getattr(config, key)) <= 1:
            raise ValueError(f"`{key}: {value}`: a number from 0 to 1 is needed")


def _mapping(key: str, value: dict | str | None) -> dict | str | None:
    """A mapping as it is, or as YAML on the command line; another string as it is."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return parse_yaml(value)
        except yaml.YAMLError as error:
            raise ValueError(f"`{key}: {value}`: no mapping ({' '.join(str(error).split())})") from None
    return value


@dataclass
class DatasetConfig:
    """Section `dataset`: how `build` makes an RA-IT dataset."""

    corpus: str | None = field(
        default=None,
        metadata={"help": "Corpus: a file, a folder, a Hub dataset id, sample_en or sample_zh; see docs/corpora.md."},
    )
    corpus_config: str | None = field(
        default=None, metadata={"help": "Config of the corpus on the Hub, if it has several."}
    )
    revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the corpus on the Hub."})
    columns: dict | str | None = field(
        default=None,
        metadata={
            "help": "Where the corpus has tokens and tags: {token: 2, tag: 3} are the second and the third column of "
            "CoNLL text, {token: words, tag: labels} are keys of JSON rows. Default: found by their content."
        },
    )
    tag_names: dict | str | None = field(
        default=None,
        metadata={
            "help": "Names of tags that are numbers or have no type: a file, or a mapping such as {1: B-person}."
        },
    )
    check_corpus: bool = field(
        default=True, metadata={"help": "Refuse a corpus that looks misread; see docs/corpora.md."}
    )
    size: int | None = field(default=None, metadata={"help": "Number of passages, drawn by seed. null: all."})
    seed: int = field(default=42, metadata={"help": "Seed of sampling, splitting, negative types and turn order."})
    wording: str = field(
        default="ra_it",
        metadata={"help": "Wording of the prompts: ra_it, released_zh, released_en, or another task's."},
    )
    negative_probability: float = field(
        default=0.5,
        metadata={
            "help": "For each type of a passage: the probability of a question about a type that the passage does not "
            "have."
        },
    )
    encoder: str | None = field(
        default=None,
        metadata={"help": "sentence-transformers model that finds examples. Default: gte-large of the language."},
    )
    strategy: Strategy = field(
        default="nn",
        metadata={"help": "How in-context examples are chosen; none is vanilla tuning. See docs/retrieval.md."},
    )
    k: int = field(default=2, metadata={"help": "In-context examples for each passage."})
    examples_probability: float = field(
        default=1.0,
        metadata={"help": "Share of train rows that show their examples; below 1 the model learns to do without, too."},
    )
    candidates: int = field(
        default=128, metadata={"help": "Number of nearest neighbours that diverse strategies and hybrid choose from."}
    )
    mixed_nn_probability: float = field(
        default=0.8,
        metadata={"help": "Share of passages with nearest neighbours in mixed_nn; the others get random examples."},
    )
    bm25_threshold: float = field(
        default=0.1, metadata={"help": "Strategies with a bm25 filter drop examples with a lower BM25 score."}
    )
    threshold_scale: Literal["self", "raw"] = field(
        default="self",
        metadata={
            "help": "self: BM25 divided by the passage's BM25 with itself. raw: BM25 as released (20 in the paper)."
        },
    )
    validation_fraction: float = field(default=0.1, metadata={"help": "Share of passages held out for validation."})
    exclude: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Decontamination: benchmarks whose test texts must not be in the dataset; see docs/corpora.md."
        },
    )
    max_length: int | None = field(
        default=2048,
        metadata={"help": "Most tokens of a row, by the tokenizer of train.model_name_or_path; null: no limit."},
    )

    def __post_init__(self) -> None:
        self.columns, self.tag_names = (_mapping(key, getattr(self, key)) for key in ("columns", "tag_names"))
        if self.columns is not None and (not isinstance(self.columns, dict) or set(self.columns) != {"token", "tag"}):
            raise ValueError(f"`columns: {self.columns}`: {{token: 1, tag: 3}} is needed")
        shares = ("negative_probability", "examples_probability", "mixed_nn_probability", "validation_fraction")
        _check_numbers(self, ("size", "candidates", "max_length"), shares)

    def encoder_for(self, language: str) -> str | None:
        """The encoder that the strategy needs, by default the paper's; None if it needs none."""
        return None if self.strategy in WITHOUT_ENCODER else self.encoder or ENCODERS[language]


@dataclass
class CommandConfig:
    """Flags of every command, which are no recipe keys."""

    dry_run: bool = field(
        default=False,
        metadata={"help": "Check the recipe and its inputs and show what would be done; write, train and ask nothing."},
    )
    verbose: bool = field(default=False, metadata={"help": "Show the messages of the libraries too."})


@dataclass
class OutputConfig:
    """Where `build` and `evaluate` write; no recipe key (`train` has it from TRL's SFTConfig)."""

    output_dir: str | None = field(default=None, metadata={"help": "Where to write. Default: outputs/<recipe>/..."})


@dataclass
class PushDatasetConfig:
    """Section `dataset`: whether and where to push the dataset."""

    push_to_hub: bool = field(default=False, metadata={"help": "Push the dataset to the Hub."})
    hub_dataset_id: str | None = field(default=None, metadata={"help": "Repo to push to: namespace/name."})
    hub_private_repo: bool = field(default=True, metadata={"help": "Make the repo private, if it is new."})


@dataclass
class PushScoresConfig:
    """Section `evaluate`: whether and where to push the scores."""

    push_to_hub: bool = field(default=False, metadata={"help": "Push scores, predictions and report to the Hub."})
    hub_model_id: str | None = field(default=None, metadata={"help": "Model repo for the scores: namespace/name."})
    hub_dataset_id: str | None = field(
        default=None, metadata={"help": "Dataset repo for the predictions too: namespace/name."}
    )
    hub_private_repo: bool = field(default=True, metadata={"help": "Make the repo private, if it is new."})


@dataclass
class TrainConfig:
    """Section `train`: the keys of `train` that TRL's ModelConfig and SFTConfig do not have."""

    dataset_name: str | None = field(
        default=None, metadata={"help": "RA-IT dataset: a folder or a Hub id. Default: this recipe's dataset."}
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "Config of the dataset. Default: the name of the recipe."}
    )
    dataset_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the dataset on the Hub."}
    )
    on_overflow: Literal["error", "drop_row"] = field(
        default="error", metadata={"help": "For rows longer than max_length: stop with an error, or drop them."}
    )
    merge: bool = field(
        default=False,
        metadata={"help": "Also merge the adapter into its base; a finished adapter is not trained again."},
    )


@dataclass
class EvaluateConfig:
    """Section `evaluate`: which models are asked what."""

    models: list[str] = field(
        default_factory=lambda: ["adapter"],
        metadata={"help": "adapter or base of this recipe, a folder, a Hub id, or a Hub id@revision."},
    )
    benchmarks: list[str] = field(
        default_factory=list,
        metadata={"help": "Known names, NAME=PATH for files that you have, or a path; see docs/evaluation.md."},
    )
    words: Literal["ra_ner", "uniner", "release", "file"] | None = field(
        default=None,
        metadata={
            "help": "Words that labels are asked by: ra_ner, those of UniversalNER or of RA-IT's release, or the "
            "file's own. Default: see docs/evaluation.md."
        },
    )
    settings: list[str] = field(
        default_factory=lambda: ["zero_shot"],
        metadata={
            "help": "zero_shot; in_domain-STRATEGY: from the benchmark's train part; out_domain-STRATEGY: from "
            "`pool`; on_demand: examples only if one is near enough."
        },
    )
    calibrated: bool = field(
        default=True,
        metadata={
            "help": "In setting on_demand use the threshold that `ra-ner calibrate --on_demand` saved beside a model, "
            "if there is one, instead of `bm25_threshold`."
        },
    )
    mode: Literal["query", "conversation"] = field(
        default="query",
        metadata={
            "help": "query: each type is asked in a prompt of its own. conversation: all types in one conversation."
        },
    )
    k: int = field(default=2, metadata={"help": "In-context examples for each query, in settings with examples."})
    in_domain_pool: int | None = field(
        default=None, metadata={"help": "Passages of the benchmark's train part to draw by seed. null: all."}
    )
    pool: str | None = field(
        default=None,
        metadata={
            "help": "Out-of-domain pool: a file, a folder or a Hub id. Default: the passages that the recipe trains on."
        },
    )
    allow_overlap: bool = field(
        default=False,
        metadata={
            "help": "Use example pools with texts of the test part as they are. By default such texts are dropped from "
            "the train part, and an out-of-domain pool with some is refused."
        },
    )
    limit: int | None = field(default=None, metadata={"help": "Passages of each benchmark, drawn by seed. null: all."})
    seed: int = field(default=42, metadata={"help": "Seed of the sample, of negative types and of the in-domain pool."})
    encoder: str | None = field(
        default=None, metadata={"help": "Encoder that finds examples. Default: that of section dataset."}
    )
    engine: Literal["transformers", "server"] = field(
        default="transformers", metadata={"help": "transformers on this machine, or an OpenAI-compatible server."}
    )
    server_url: str | None = field(
        default=None, metadata={"help": "URL of the server, such as http://localhost:8000/v1."}
    )
    server_models: list[str] = field(
        default_factory=list, metadata={"help": "The server's name for each of `models`. Default: the same names."}
    )
    server_api: Literal["completions", "chat"] = field(
        default="completions",
        metadata={"help": "completions: sends token ids, as in training. chat: sends messages, for vendors."},
    )
    server_json: bool = field(default=False, metadata={"help": "Make a vLLM server constrain answers to JSON lists."})
    server_concurrency: int = field(default=8, metadata={"help": "Number of requests at the same time."})
    server_timeout: float = field(default=120.0, metadata={"help": "Seconds to wait for a whole answer."})
    server_max_requests: int = field(default=10_000, metadata={"help": "Most requests to send, retries included."})
    server_max_tokens: int = field(default=10_000_000, metadata={"help": "Most tokens to send and receive."})
    server_thinking_tokens: int = field(
        default=0,
        metadata={"help": "Most tokens that a reasoning model may think, beside those of its answer."},
    )
    server_prices: list[float] = field(
        default_factory=lambda: [0.0, 0.0],
        metadata={"help": "Prices of a million prompt tokens and of a million answer tokens."},
    )
    dtype: Literal["float32", "bfloat16", "float16"] = field(
        default="bfloat16", metadata={"help": "Number format of the model. In float32 answers equal plain generation."}
    )
    load_in_4bit: bool = field(
        default=False, metadata={"help": "Load the model in 4 bits (NF4), computing in `dtype`."}
    )
    max_new_tokens: int = field(
        default=256,
        metadata={"help": "Most tokens of an answer, which also has at most about twice the tokens of its text."},
    )
    batch_size: int = field(default=4, metadata={"help": "Passages asked about at once; lowered if memory runs out."})
    copy_only: bool = field(
        default=False,
        metadata={"help": "Constrain each answer to a JSON list of substrings of its text; see docs/evaluation.md."},
    )

    def __post_init__(self) -> None:
        server = ("server_concurrency", "server_max_requests", "server_max_tokens")
        _check_numbers(self, ("in_domain_pool", "limit", "max_new_tokens", "batch_size", *server))
        if not 0 < self.server_timeout < float("inf"):
            raise ValueError(f"`server_timeout: {self.server_timeout}`: a number of seconds above 0 is needed")
        if self.server_thinking_tokens < 0:
            raise ValueError(f"`server_thinking_tokens: {self.server_thinking_tokens}`: at least 0 is needed")
