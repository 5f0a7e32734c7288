"""Recognize credentials in URIs and in texts, and remove them: no written or printed text may contain one.

They are recognized by their position, not by their form. Everything before an @ in front of a host is a credential, and so is
every query parameter of a web address except those in HARMLESS, because services name their signatures differently. In names of
objects and local files a question mark is an ordinary character; there, and in texts that are not URIs, only parameters with the
name of a secret are removed. A secret that is part of a path can't be recognized.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_plus

HARMLESS = frozenset(
    {
        "w", "h", "width", "height", "size", "sz", "dpr", "scale", "zoom", "q", "quality", "fit", "crop", "resize", "thumb",
        "thumbnail", "rotate", "flip", "bg", "cs", "tile", "layer", "num", "frame", "x", "y", "z",
        "format", "fm", "ext", "type", "mime", "auto", "v", "ver", "version", "versionid", "generation",
        "rev", "revision", "page", "index", "idx", "i", "n", "offset", "start", "end", "limit", "sort", "order",
        "date", "year", "month", "day", "t", "ts", "timestamp", "cb", "cache", "lang", "locale",
        "name", "filename", "file", "path", "src", "url", "id", "imageid", "photoid", "fileid", "assetid",
        "uuid", "download", "dl", "raw", "alt", "mode", "view", "ixlib", "partnumber",
    }
)  # fmt: skip
"""Parameters of a web address that choose a picture, its size, form or version; names without case and punctuation."""
HARMLESS_ENDINGS = ("width", "height", "size", "format", "version", "quality")

_NAMES_OF_OBJECTS = frozenset({"", "file", "local", "memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"})
_SECRET_PART = re.compile(
    "secret|token|passw|passphrase|pwd|credential|signature|jwt|bearer|authorization|sharedaccess|keypairid|sessionid"
    "|(access|account|api|app|auth|client|license|private|shared|signing|storage|subscription)key"
)
_SECRET_NAME = frozenset({"sig", "sas", "hmac", "otp", "hdnts", "hdnea", "xamzcredential"})
_SECRET_PARAMETER = _SECRET_NAME | {"key", "keys", "auth", "policy", "code", "session", "sid", "cookie"}
_SECRET_VALUE = re.compile(
    r"\beyJ[\w-]{6,}\.[\w-]+\.[\w-]*|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_USER_INFO = re.compile(r"(?:(?<=://)|(?:^|(?<=[\s\"'(<\[=,]))//)[^\s/?#]*@")
_USER_AND_PASSWORD = re.compile(r"(?<=://)[^\s/?#:@\[]*:(?!\d*(?:[/?#]|$))[^\n@]{1,200}@(?:[^\s/?#@]*@)*")
_USER_INFO_OF_URI = re.compile(r"://(?:[^/?#]*@|[^/?#:@\[\]]*:(?!\d*(?:[/?#]|$))[^@]*@)|^//[^/?#]*@")
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*)://[^\s<>\"]*")
_TRAILING = re.compile(r"[')\],;:.]*$")
_ANY_QUERY = re.compile(r"\?[^\s<>\"']+")
_ASSIGNMENT = re.compile(r"(?<![\w%.-])([\w%.-]{1,80})=([^&;,\s'\"]+)")
_QUOTED_PAIR = re.compile(r"(['\"])([\w-]{1,80})\1(\s*[:=,]\s*b?)(['\"])(.*?)\4", re.DOTALL)
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|[\w-]*(?:token|secret|api-key))(:\s*)([^\n'\"]+)"
)
_SCHEME_AND_TOKEN = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_ELEMENT = re.compile(
    r"(?is)<(AWSAccessKeyId|SignatureProvided|StringToSign(?:Bytes)?|CanonicalRequest(?:Bytes)?)>.*?(?:</\1>|\Z)"
)
IsSecret = Callable[[str, str | None], bool]


def carries_credentials(uri: str) -> bool:
    """Whether a URI contains a secret, which would end up in every file that records the URI."""
    if _USER_INFO_OF_URI.search(uri) or _SECRET_VALUE.search(_decoded(uri)):
        return True
    scheme = uri.partition("://")[0].lower() if "://" in uri else ""
    if scheme in _NAMES_OF_OBJECTS:
        return any(_is_secret_parameter(*pair) for part in uri.split("?")[1:] for pair in _pairs(part))
    before, _, fragment = uri.partition("#")
    path, _, query = before.partition("?")
    return any(_is_not_harmless(*pair) for pair in _pairs(query)) or any(
        value is not None and _is_secret_parameter(name, value)
        for part in (fragment, path.partition(";")[2])
        for name, value in _pairs(part)
    )


def scrub(text: str) -> str:
    """The text without credentials: user:password@, signatures, tokens, keys. Scrubbing the result again changes nothing."""
    for pattern in (_USER_AND_PASSWORD, _USER_INFO):
        text = pattern.sub(lambda found: "//***@" if found[0].startswith("//") else "***@", text)
    text = _ELEMENT.sub(r"<\1>***</\1>", _SECRET_VALUE.sub("***", text))
    text = _URL.sub(_scrubbed_url, text)
    text = _ANY_QUERY.sub(lambda found: "?" + _scrubbed_query(found[0][1:], _is_secret_parameter), text)
    text = _ASSIGNMENT.sub(lambda found: f"{found[1]}=***" if _is_secret_name(found[1]) else found[0], text)
    text = _QUOTED_PAIR.sub(_scrubbed_pair, text)
    return _SCHEME_AND_TOKEN.sub(r"\1 ***", _HEADER.sub(r"\1\2***", text))


def _scrubbed_url(found: re.Match[str]) -> str:
    tail = _TRAILING.search(found[0])
    end = tail[0] if tail else ""
    url = found[0][: len(found[0]) - len(end)]
    if found[1].lower() in _NAMES_OF_OBJECTS or not set(url) & set("?#;"):
        return found[0]
    before, hash_, fragment = url.partition("#")
    path, mark, query = before.partition("?")
    path, semicolon, parameters = path.partition(";")
    return "".join(
        (
            path, semicolon, _scrubbed_query(parameters, _is_secret_assignment), mark,
            _scrubbed_query(query, _is_not_harmless), hash_, _scrubbed_query(fragment, _is_secret_assignment), end,
        )
    )  # fmt: skip


def _scrubbed_query(query: str, is_secret: IsSecret) -> str:
    parts = re.split("([&;])", query)
    return "".join(part if place % 2 else _scrubbed_part(part, is_secret) for place, part in enumerate(parts))


def _scrubbed_part(part: str, is_secret: IsSecret) -> str:
    name, equals, value = part.partition("=")
    if not part or not is_secret(name, value if equals else None):
        return part
    return f"{name}=***" if equals else "***"


def _scrubbed_pair(found: re.Match[str]) -> str:
    quote, name, between, value_quote, _ = found.groups()
    is_header = _normalized(name) in {"cookie", "setcookie", "proxyauthorization"}
    if not is_header and not _is_secret_name(name):
        return found[0]
    return f"{quote}{name}{quote}{between}{value_quote}***{value_quote}"


# Names and values


def _pairs(query: str) -> list[tuple[str, str | None]]:
    parts = [part.partition("=") for part in re.split("[&;]", query) if part]
    return [(name, value if equals else None) for name, equals, value in parts]


def _is_not_harmless(name: str, value: str | None) -> bool:
    """Whether a parameter of a web address is not known to be harmless, or contains another address with a secret."""
    if value is None and name.isascii() and name.isdecimal():
        return False  # as ?1700000000, against caches
    short = _normalized(name)
    if short not in HARMLESS and not short.endswith(HARMLESS_ENDINGS):
        return True
    return _is_secret_name(name) or _is_secret_value(value)


def _is_secret_parameter(name: str, value: str | None) -> bool:
    """Whether a parameter is secret in the name of an object or file, or after a question mark of unknown meaning."""
    return _is_secret_assignment(name, value) or (value is None and _is_secret_value(name))


def _is_secret_assignment(name: str, value: str | None) -> bool:
    return value is not None and (
        _normalized(name) in _SECRET_PARAMETER or _is_secret_name(name) or _is_secret_value(value)
    )


def _is_secret_name(name: str) -> bool:
    short = _normalized(name)
    return short in _SECRET_NAME or _SECRET_PART.search(short) is not None


def _is_secret_value(value: str | None) -> bool:
    inner = _decoded(value or "")
    return bool(inner) and (
        _SECRET_VALUE.search(inner) is not None
        or (inner != value and ("?" in inner or "://" in inner) and carries_credentials(inner))
        or ("://" in inner and carries_credentials(inner))
    )


def _normalized(name: str) -> str:
    return re.sub("[^a-z0-9]", "", _decoded(name).casefold())


def _decoded(text: str) -> str:
    """Decode percent-encoding, including nested encoding."""
    for _ in range(4):
        if "%" not in text:
            break
        text = unquote_plus(text)
    return text
