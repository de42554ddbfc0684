"""Which model a name means, how it is loaded and how it is asked."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..hub import repos
from ..hub.repos import LocalModel
from ..prompting.known_checkpoints import KNOWN_CHECKPOINTS


@dataclass(frozen=True)
class Model:
    """A model and how it is asked. `base` is the model below an adapter, None for a full model.

    `system` and `chat_template` are None where the tokenizer's own chat template says all.
    """

    name: str
    local: LocalModel
    base: LocalModel | None
    wording: str
    language: str
    system: str | None = None
    chat_template: str | None = None


def find_model(
    name: str,
    revision: str | None = None,
    *,
    wording: str = "ra_it",
    language: str = "en",
    with_weights: bool = True,
) -> Model:
    """Resolve a folder, a Hub id or `id@revision`, and fetch what is on the Hub.

    How a model is asked is known from ra_it.json of an adapter of this project, or from the table of known
    checkpoints; any other model is asked with `wording` and `language`. The base of an adapter is the one that its
    config names, at that revision.

    Args:
        with_weights: False fetches what a tokenizer needs alone: a server has the weights.

    Raises:
        UserError: it does not exist, can't be fetched, or its base is not the one it was trained on.
    """
    path, _, at = (name, "", "") if Path(name).is_dir() else name.partition("@")
    files = repos.MODEL_FILES if with_weights else repos.TOKENIZER_FILES
    local = repos.fetch_model(path, revision or at or None, files)
    if known := KNOWN_CHECKPOINTS.get(path):
        return Model(name, local, None, **vars(known))
    facts, base = local.facts, None
    if named := local.adapter_config:
        try:
            base = repos.fetch_model(named["base_model_name_or_path"], named.get("revision"), files)
        except UserError as error:
            raise UserError(f"the base of adapter {path}: {error}") from None
        if facts and facts["base_revision"] != base.revision:
            raise UserError(
                f"adapter {path} was trained on {facts['base']} at {facts['base_revision']}, but that is now at "
                f"{base.revision}; bring the base model back, or train the adapter again"
            )
    return Model(
        name=facts.get("recipe", name) if Path(path).is_dir() else name,
        local=local,
        base=base,
        wording=facts.get("wording", wording),
        language=facts.get("language", language),
    )
