"""What of this machine and its user must not be published, and text without it."""

import getpass
import mmap
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["Private", "last_name"]

_REMOVED = "(removed)"
_SECRET_NAME = re.compile(r"TOKEN(?!IZER)|SECRET|PASSW|CREDENTIAL|_?KEY(?:_|$)", re.IGNORECASE)
"""Names of environment variables whose values are nobody's business."""
_SECRET = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_)[A-Za-z0-9_-]{16,}")
"""How tokens of hubs and services begin, wherever they come from."""
_SHORTEST_SECRET, _SHORTEST_WORD = 8, 3
"""Characters; what is shorter stands everywhere by chance."""
_OF_NOBODY = frozenset(
    {"root", "user", "users", "admin", "ubuntu", "debian", "runner", "docker", "jovyan", "nobody", "node", "app", "localhost"}
)
"""Names of users and machines that say nothing, and are words that text is full of."""
_END = r"[^\s'\"`<>|*]*"
_PATH = re.compile(
    rf"file://{_END}"
    rf"|(?<![\w/.~:\\-])(?:~[\w.-]*|\.{{1,2}})(?:/|\\)[^\s'\"`<>|*:]*"  # ~/x, ../x
    rf"|(?<![\w/.:~<\\@-])/[^\s/'\"`<>|*:]+/[^\s'\"`<>|*:]*"  # /x/y; a lone /x is a word with a slash
    rf"|(?<!\w)[A-Za-z]:[\\/](?!/){_END}"  # C:\x
    rf"|(?<![\w\\])\\\\[\w.-]+\\{_END}"  # \\machine\x
)
_QUOTED = re.compile(r"(['\"`])((?:/|~[\w.-]*/|\.{1,2}/|[A-Za-z]:[\\/]|\\\\)(?:(?!\1)[^\n])+)\1")
"""A path in quotes, which may have spaces in it."""
_LOGIN = re.compile(r"(?<=://)[^\s/@]+@")
"""Name and password in an address."""


@dataclass(frozen=True)
class Private:
    """What must not be published; without arguments nothing but what is private by its form, such as paths and tokens."""

    places: tuple[str, ...] = ()
    """Folders that tell who somebody is or how work is organised, such as the home directory."""
    words: tuple[str, ...] = ()
    """Names of the user and the machine."""
    secrets: tuple[str, ...] = ()
    """Values of environment variables that are secret by their names, and the hub's token."""

    @classmethod
    def here(cls, token: str | None = None, environment: Mapping[str, str] | None = None) -> "Private":
        """What is private on this machine.

        Args:
            token: The hub's token, which need not be in the environment.
            environment: The environment; default that of the process.
        """
        environment = os.environ if environment is None else environment
        places = {os.path.realpath(each) for each in (Path.home(), Path.cwd())} | {str(Path.home()), str(Path.cwd())}
        secrets = {value for name, value in environment.items() if _SECRET_NAME.search(name)} | {token or ""}
        return cls(
            tuple(sorted((each for each in places if each.count(os.sep) > 1), key=len, reverse=True)),
            tuple(sorted({each for each in _names(environment) if len(each) >= _SHORTEST_WORD and each.lower() not in _OF_NOBODY})),
            tuple(sorted((each for each in secrets if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)),
        )

    def but(self, *public: str) -> "Private":
        """The same without names that are published anyway, as the owner of the repository that is published to.

        Args:
            public: The names.
        """
        return Private(self.places, tuple(each for each in self.words if each not in public), self.secrets)

    def cleaned(self, text: str) -> str:
        """The text with paths as their last names, and without secrets and, in sentences, the names of user and machine.

        A text without a space is the name or the value of something, which a user may be called like by chance: "max", or "standard".

        Args:
            text: A sentence, a name or a path.
        """
        if self._trigger.search(text) is None:
            return text
        for secret in self.secrets:
            text = text.replace(secret, _REMOVED)
        text = _SECRET.sub(_REMOVED, text)
        for place in self.places:
            text = re.sub(rf"{re.escape(place)}(?:[/\\][^\s'\"`<>|*:]*|(?![\w-]))", lambda found: _place_name(found[0], self.places), text)
        text = _QUOTED.sub(lambda found: f"{found[1]}{last_name(found[2])}{found[1]}", text)
        text = _PATH.sub(lambda found: _named(found[0]), _LOGIN.sub("", text))
        return self._sentence_words.sub(_REMOVED, text) if " " in text else text

    def named(self, value: str) -> str:
        """What a data set, a model, a file or a folder is called: a name of the hub's as it is, a path by its last name.

        Args:
            value: What was given for it.
        """
        if _is_of_the_hub(value):
            return value if "/" in value else self._name_words.sub(_REMOVED, self.cleaned(value))
        return self._name_words.sub(_REMOVED, self.cleaned(last_name(value)))

    def without_secrets(self, text: str) -> str:
        """Text that is quoted, such as a data set's, without secrets and the home directory; all else in it is as it was written.

        Args:
            text: A token, or several.
        """
        if len(text) < _SHORTEST_SECRET:
            return text
        for private in (each for each in (*self.secrets, *self.places) if each in text):
            text = text.replace(private, _REMOVED)
        return _SECRET.sub(_REMOVED, text)

    def found_in(self, file: Path) -> list[str]:
        """Secrets and places that stand in a file, the former not written out.

        Args:
            file: The file.
        """
        if not file.stat().st_size:
            return []
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            secret = any(content.find(_bytes(each)) >= 0 for each in self.secrets)
            places = [each for each in self.places if content.find(_bytes(each)) >= 0]
        return [*(["the value of a secret environment variable, or a token"] if secret else []), *places]

    @cached_property
    def _trigger(self) -> "re.Pattern[str]":
        return re.compile("|".join(["/", r"\\", *map(re.escape, (*self.words, *self.secrets)), _SECRET.pattern]), re.IGNORECASE)

    @cached_property
    def _sentence_words(self) -> "re.Pattern[str]":
        return re.compile(rf"(?<![\w/.-])(?:{self._any_word})(?![\w/-]|\.\w)", re.IGNORECASE)

    @cached_property
    def _name_words(self) -> "re.Pattern[str]":
        return re.compile(rf"(?<![A-Za-z0-9])(?:{self._any_word})(?![A-Za-z0-9])", re.IGNORECASE)

    @property
    def _any_word(self) -> str:
        return "|".join(map(re.escape, sorted(self.words, key=len, reverse=True))) or r"(?!)"


def last_name(path: str) -> str:
    """The last part of a path of any system.

    Args:
        path: The path.
    """
    parts = [each for each in re.split(r"[/\\]+", path) if each not in ("", ".", "..", "~")]
    return parts[-1] if parts else "folder"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _named(path: str) -> str:
    """A path in a sentence by its last name; the sentence's own signs stay."""
    bare = path.rstrip(".,;)]}")
    return last_name(bare) + path[len(bare) :]


def _place_name(path: str, places: tuple[str, ...]) -> str:
    return "folder" if path.rstrip("/\\") in places else _named(path)


def _is_of_the_hub(value: str) -> bool:
    """Whether it is a name on the hub, or a word, and not a path; a file's ending makes it one, and so does being there."""
    is_name = re.fullmatch(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?", value) is not None
    return is_name and not re.search(r"\.(?:txt|jsonl?|csv|parquet|arrow|gz|zst)$", value) and not os.path.exists(value)


def _names(environment: Mapping[str, str]) -> Iterator[str]:
    """What the user and the machine are called."""
    yield from (environment.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "HOSTNAME", "COMPUTERNAME"))
    yield Path.home().name
    with suppress(OSError, KeyError, ImportError):  # a user without a name, as in a container
        yield getpass.getuser()
    host = socket.gethostname()
    yield from (host, host.split(".")[0])
