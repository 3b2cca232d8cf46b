"""Mistakes on the command line, answered in two lines: what is wrong with the nearest right thing, and where all flags are listed."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from sae_lens_metrics.cli.statuses import REFUSED
from sae_lens_metrics.results.in_words import printable

__all__ = ["CommandParser", "did_you_mean", "nearest", "one_line", "two_lines"]

_NUMBER = re.compile(r"-\d+|-\d*\.\d+")  # what argparse takes for a value
_EMPTY = re.compile(r"(-\w|--[^=]+=)--")
"""A flag with the value "--", which argparse takes away without a word."""
_LONGEST, _SHOWN = 300, 100
"""Characters of a word, and those at its beginning and its end that are shown of a longer one."""
_KINDS = {"int": "a whole number", "float": "a number"}


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """What somebody may have meant who wrote a name that is not known; the likeliest first, none if nothing is near.

    Args:
        name: A flag, command, or name with slashes or dots.
        known: Those that there are. One that ends in what was written counts as near: ``--n2g.shown`` for ``--shown``.
    """
    from difflib import get_close_matches  # a mistake is rare, and each start would pay for it

    plain: dict[str, str] = {}
    for each in known:
        plain.setdefault(_plain(each), each)
    name = _plain(name)
    same_end = [each for each in plain if re.split(r"[./]", each)[-1] == name]
    near = same_end or get_close_matches(name, plain, n=1, cutoff=0.6)
    return [plain[each] for each in near][:3]


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-").lower()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: a colon and a question, or nothing."""
    near = nearest(name, known)
    return f": did you mean {' or '.join(near)}?" if near else ""


def two_lines(program: str, said: str, listed: str) -> str:
    """A mistake in words, and below it where to look.

    Args:
        program: The program and its command, as typed.
        said: What is wrong; reasons of other packages may have many lines.
        listed: What the command's ``--help`` lists.
    """
    return f"{program}: {one_line(said)}\n{program} --help lists {listed}\n"


def one_line(text: str) -> str:
    """A text as one line for a terminal: control characters as text, and what is too long for a name without its middle.

    Args:
        text: What is wrong, which may quote what was given, and other packages.
    """
    return " ".join(
        word if len(word) <= _LONGEST else f"{word[:_SHOWN]}...{word[-_SHOWN:]}" for word in printable(" ".join(text.split())).split(" ")
    )


class CommandParser(argparse.ArgumentParser):
    """A parser of one command's flags; flags are never abbreviated, and mistakes take two lines, not a page of usage."""

    others = ""
    """If not empty, only unknown flags that begin with this are mistakes; the others are somebody else's."""
    listed = "all flags"
    """What ``--help`` lists."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self._given: list[str] = []

    def flags(self) -> list[str]:
        """All flags, in every spelling; those of settings only once something was parsed."""
        return list(self._option_string_actions)

    def read(self, args: Sequence[str]) -> argparse.Namespace:
        """Parses the arguments after the command's name; exits after a mistake, which is said in two lines."""
        self._begin(args)
        return self.parse_args(self._given)

    def read_own(self, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parses those flags that are this parser's, and gives back the others; see ``others``."""
        self._begin(args)
        options, rest = self.parse_known_args(self._given)
        if self._unknown_flag() is not None:
            self.error("")
        return options, rest

    def _print_message(self, message: str, file: Any = None) -> None:
        """Help that cannot be printed is an error like all other output; argparse drops it without a word."""
        if file is not None and file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)

    def _begin(self, args: Sequence[str]) -> None:
        self._given = list(args)
        empty = next((each for each in self._given if _EMPTY.fullmatch(each)), None)
        if empty is not None:
            said = f"{empty[:-2].rstrip('=')} takes a value, but none is given"
            self.exit(REFUSED, two_lines(self.prog, said, self.listed))  # not error, which knows the flags of settings only later

    def error(self, message: str) -> NoReturn:
        """Says what is wrong in two lines, and exits. A flag that is not known comes first: other mistakes may follow from it."""
        unknown = self._unknown_flag()
        said = self._in_words(message) if unknown is None else f"there is no flag {unknown}{did_you_mean(unknown, self._spelt_as(unknown))}"
        self.exit(REFUSED, two_lines(self.prog, said, self.listed))

    def _unknown_flag(self) -> str | None:
        for argument in self._given:
            if argument == "--":
                return None
            name = argument.split("=", 1)[0]
            if len(name) < 2 or name[0] != "-" or " " in name or _NUMBER.fullmatch(name) or name in self._option_string_actions:
                continue
            if name.startswith(self.others or "-") and not (name[1] != "-" and name[:2] in self._option_string_actions):
                return name
        return None

    def _spelt_as(self, name: str) -> list[str]:
        """All flags once, those that have two spellings with underscores or dashes as a name has them."""
        flags = list(dict.fromkeys(self._option_string_actions))
        return sorted(flags, key=lambda each: ("_" in each) != ("_" in name))

    def _in_words(self, message: str) -> str:
        """What argparse says, in better words where its own are known."""
        if match := re.match(r"unrecognized arguments: (.*)", message):
            return f"{match[1]} is more than it takes"
        if match := re.match(r"the following arguments are required: (.*)", message):
            names = match[1].split(", ")
            return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
        if match := re.match(r"argument ([^ :]+): (.*)", message, flags=re.DOTALL):
            return self._value_in_words(match[1].split("/"), match[2])
        return message

    def _value_in_words(self, names: list[str], message: str) -> str:
        used = [argument.split("=", 1)[0] for argument in self._given]
        name = next((each for each in names if each in used), names[0])
        action = self._option_string_actions.get(names[0])
        if match := re.match(r"invalid choice: '?(.*?)'? \((.*)", message, flags=re.DOTALL):
            known = action.choices if action is not None and action.choices is not None else re.findall(r"'(.*?)'", match[2])
            choices = [str(each) for each in known]  # of another package's flag those that the message names
            return f"{name} takes {_listed(choices)}, not {match[1]}{did_you_mean(match[1], choices)}"
        if (match := re.match(r"invalid (.*) value: (.*)", message)) and (kind := _KINDS.get(match[1])):
            return f"{name} takes {kind}, not {match[2]}"
        if re.match(r"expected (one|at least one) argument", message):
            return f"{name} takes a value, but none is given"
        if match := re.match(r"Boolean value expected for argument, received (.*)", message):
            return f"{name} takes true or false, not {match[1]}"
        return f"{name}: {message}"


def _listed(names: list[str]) -> str:
    return "".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} or {names[-1]}"
