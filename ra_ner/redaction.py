"""What a secret looks like, in one place: messages show it as ***, and configurations that hold one are refused."""

import json
import os
import re
from collections.abc import Iterator

# Keys whose value is a secret. Others that end in token, such as `eos_token`, are none.
_KEY = r"""
    (?:(?:push_to_)?hub_|hf_|use_auth_|auth_|access_|bearer_|api_)?token
    | (?:\w+[_-])?(?:(?:api|access|secret|private)[_ -]?key|password|passwd|secret|authorization|credentials?)
"""
_SECRET_KEY = re.compile(_KEY, re.VERBOSE | re.IGNORECASE)
_SECRETS = re.compile(
    rf"""
    \b(?:hf_|api_org_)[a-z0-9]{{30,}}                      # tokens of the Hub, often letters alone
    | \b(?:hf_|api_org_|sk-|gh[oprsu]_|github_pat_|glpat-|xox[a-z]-|AKIA|AIza|nvapi-|gsk_|r8_)
        (?=[\w-]{{0,99}}\d)(?=[\w-]{{0,99}}[a-z0-9]{{16}})[\w-]+  # tokens of services
    | \beyJ[\w-]{{8,999}}\.[\w-]{{8,}}\.[\w-]*            # JSON web tokens
    | (?<=://)[^/?\#\s@]+(?=@)                            # user, password or token of a URL
    | (?P<before>(?-i:\b(?:Bearer|Basic))\s+)(?=\S{{0,99}}\d)[\w.~+/=-]{{8,}}
    | (?P<key>(?:(?<![\w-])(?:{_KEY})|[?&](?:\w+[_-])?(?:key|token))["']?\s*[:=]\s*["']?(?:bearer\s+|basic\s+)?)
        [^\s"',}}&]{{6,}}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_VARIABLE = re.compile(r"(?:.*_)?(?:TOKEN|KEY|SECRET|PASSWORD|CREDENTIALS?)(?:_.*)?", re.IGNORECASE)
_SHORTEST = 8  # characters of a value in the environment that counts as a secret


def redact(text: str) -> str:
    """A text with *** in place of each secret: of what looks like one, and of those in the environment."""
    for secret in sorted(_secrets_of_environment(), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _SECRETS.sub(lambda match: f"{match['before'] or match['key'] or ''}***", text)


def find_secret(value: object, key: str = "") -> str | None:
    """The key under which a configuration holds a secret, None if it holds none.

    Args:
        value: a value, or mappings and lists of them. A string of JSON is looked into as well.
    """
    return next(_keys_with_secrets(value, key), None)


def _keys_with_secrets(value: object, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _keys_with_secrets(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _keys_with_secrets(inner, key)
    elif isinstance(value, str) and value:
        outer, _, name = key.rpartition(".")
        if outer.endswith("columns") and name == "token":  # of a corpus: the key of its tokens
            is_secret = redact(value) != value
        elif name == "columns" and value.lstrip().startswith("{"):
            is_secret = False  # what it holds is looked at below
        else:
            is_secret = _SECRET_KEY.fullmatch(name.replace("-", "_")) or redact(value) != value
        if is_secret or redact(key) != key:
            yield redact(key)
        elif value.lstrip()[:1] in ("{", "["):
            try:
                inner = json.loads(value)
            except (ValueError, RecursionError):
                return
            yield from _keys_with_secrets(inner, key)


def _secrets_of_environment() -> set[str]:
    values = {value.strip() for name, value in os.environ.items() if _VARIABLE.fullmatch(name)}
    return {value for value in values if len(value) >= _SHORTEST and not os.path.exists(value)}
