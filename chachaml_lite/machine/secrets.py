"""Removal of secrets from recorded commands: values of options with a telling name, and user info in URLs."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"
#: Words of a name that make its value a secret: api-key, apiKey, HF_TOKEN, db.password.
_SECRET_WORDS = frozenset(
    {
        "apikey",
        "credential",
        "credentials",
        "key",
        "passphrase",
        "passwd",
        "password",
        "pwd",
        "secret",
        "secrets",
        "token",
    }
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_OPTION = re.compile(r"--?(?P<name>[A-Za-z][\w.-]*)\Z")
_VALUE = r"""(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s'"&;]+)"""
#: NAME=VALUE, --NAME VALUE and "NAME": VALUE in a text, as in sh -c '...'. A name is never the end of a longer one.
_ASSIGNED = re.compile(rf"(?<![\w.-])(?P<name>-{{0,2}}[A-Za-z][\w.-]{{0,99}})(?P<sign>=){_VALUE}")
_FOLLOWED = re.compile(rf"(?<![\w.-])--?(?P<name>[A-Za-z][\w.-]{{0,99}})(?P<sign>\s+)(?!--){_VALUE}")
_IN_JSON = re.compile(rf"""["'](?P<name>[A-Za-z][\w.-]{{0,99}})["'](?P<sign>\s*:\s*){_VALUE}""")
_HEADER = re.compile(
    r"(?i)\b(?P<name>authorization|x-api-key)(?P<sign>:\s*(?:bearer\s+|basic\s+|token\s+)?)(?P<value>[^\s'\"]+)"
)
_USER_INFO = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]{0,20}://)[^/\s'\"@]*(?:@[^/\s'\"@]*)*@")


def mask_command(command: Sequence[str]) -> list[str]:
    """Mask the secrets in a command: the X of `--token=X` and of `--token X`."""
    words: list[str] = []
    is_value = False
    for word in command:
        option = _OPTION.match(word)
        if is_value and not word.startswith("--"):
            words.append(MASK)
            is_value = False
            continue
        words.append(mask_text(word))
        is_value = option is not None and is_secret(option["name"])
    return words


def mask_text(text: str) -> str:
    """Mask the values in a text whose names make them secrets, and remove the user info from URLs."""
    for pattern in (_ASSIGNED, _FOLLOWED, _IN_JSON):
        text = pattern.sub(_mask_named, text)
    text = _HEADER.sub(lambda match: f"{match['name']}{match['sign']}{MASK}", text)
    return strip_user_info(text)


def strip_user_info(text: str) -> str:
    """Remove user and password from the URLs in a text: https://ana:secret@host/x becomes https://host/x."""
    return _USER_INFO.sub(lambda match: match["scheme"], text)


def is_secret(name: str) -> bool:
    """Return whether values with this name are masked."""
    return any(word.lower() in _SECRET_WORDS for word in _WORD.findall(name))


def _mask_named(match: re.Match[str]) -> str:
    if not is_secret(match["name"]):
        return match[0]
    return match[0][: match.start("value") - match.start()] + MASK
