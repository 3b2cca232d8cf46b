"""Places to cut held-out source code and prose after a word, with what is known about each place."""

import ast
import bisect
import io
import keyword
import random
import re
import tokenize
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from sae_lens_metrics.text.standard_library import standard_library_documents

__all__ = ["LONGEST", "SHORTEST", "Cut", "Excerpt", "code_cuts", "code_window", "prose_windows"]

SHORTEST, LONGEST = 40, 300
_ENOUGH = 800_000  # characters of source code: some thousands of examples for the rarest task, read in about a second
_WORD = re.compile(r"[A-Za-z]{3,}(?![A-Za-z0-9_])")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


class Cut(NamedTuple):
    """The end of a word of at least three letters in a source file, and where that word stands."""

    document: int
    """Number of the source file."""

    end: int

    kind: Literal["code", "string", "comment"]

    brackets: tuple[str, ...]
    """The open brackets, outermost first: ``"signature"`` of a function, ``"call"``, or ``"other"``."""

    statement: str
    """First token of the statement."""

    indentation: int
    """How many spaces the line begins with (of a string, the line where it begins)."""


class Excerpt(NamedTuple):
    """A text, and where it is from."""

    text: str

    document: int | None = None
    """Number of the source file, for the code in it as for its documentation; none for a text that is from nowhere, as random numbers."""


class _Source(NamedTuple):
    text: str
    cuts: list[Cut]
    starts: list[int]
    """Where the lines of statements begin: outside of every string, comment and bracket."""


def code_cuts() -> list[Cut]:
    """All places, in the order of the files."""
    return [cut for source in _library()[0].values() for cut in source.cuts]


def code_window(cut: Cut, rng: random.Random) -> Excerpt | None:
    """Whole statements and the beginning of the last up to the cut; nothing where no such text has an allowed length."""
    source = _library()[0][cut.document]
    wanted = rng.randint(SHORTEST, LONGEST - 60)
    index = bisect.bisect_right(source.starts, cut.end - wanted) - 1
    if index < 0 or cut.end - source.starts[index] > LONGEST:
        return None
    return Excerpt(source.text[source.starts[index] : cut.end], cut.document)


def prose_windows(rng: random.Random) -> Iterator[Excerpt]:
    """Endless excerpts of documentation, from a word's beginning to a word's end, without interactive sessions."""
    documents = _library()[1]
    weights = [len(document.text) ** 0.5 for document in documents]  # a few are long, and must not decide a split that keeps each whole
    while True:
        ((document, number),) = rng.choices(documents, weights)
        begin = rng.randrange(len(document))
        first = _WORD.search(document, begin)
        last = _WORD.search(document, begin + rng.randint(SHORTEST, LONGEST - 40))
        if first is None or last is None:
            continue
        text = document[first.start() : last.end()]
        if ">>>" not in text:
            yield Excerpt(text, number)


@lru_cache(maxsize=1)
def _library() -> tuple[dict[int, _Source], list[Excerpt]]:
    """Held-out source files by number, with their cuts, and held-out prose; read and tokenised once."""
    sources: dict[int, _Source] = {}
    prose: list[Excerpt] = []
    number = 0
    for document in standard_library_documents("held_out"):
        if not _is_code(document):
            prose.append(Excerpt(document, number))  # it follows the file that it documents
            continue
        number += 1
        if document.isascii():  # where columns are characters on every version
            sources[number] = _scan(document, number)
            if sum(len(source.text) for source in sources.values()) > _ENOUGH:
                break
    return sources, prose


def _is_code(document: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(document)
        except (SyntaxError, ValueError):
            return False
    return True


def _scan(text: str, document: int) -> _Source:
    lines = [0]
    for line in io.StringIO(text):
        lines.append(lines[-1] + len(line))
    scanner = _Scanner(document, lines)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        scanner.read(token)
    return _Source(text, scanner.cuts, scanner.starts)


class _Scanner:
    """Follows the tokens of one file."""

    def __init__(self, document: int, lines: list[int]) -> None:
        self.cuts: list[Cut] = []
        self.starts: list[int] = []
        self._document = document
        self._lines = lines
        self._brackets: list[str] = []
        self._statement = ""
        self._previous = ("", "")
        self._formatted = 0

    def read(self, token: tokenize.TokenInfo) -> None:
        name = tokenize.tok_name[token.type]
        if name.endswith("STRING_START"):  # f-strings, which are one token before Python 3.12 and many from there on
            self._formatted += 1
        if name == "COMMENT":
            self._cut_words(token, "comment")
        elif name == "NEWLINE":
            self._statement = ""
        elif name in ("NAME", "OP", "STRING", "NUMBER") and not self._formatted:
            self._read_code(token, name)
        if name.endswith("STRING_END"):
            self._formatted -= 1

    def _read_code(self, token: tokenize.TokenInfo, name: str) -> None:
        if not self._statement:
            self._statement = token.string
            self.starts.append(self._lines[token.start[0] - 1])
        if name == "NAME":
            self._cut_words(token, "code")
        elif name == "STRING" and "f" not in token.string[: token.string.index(token.string[-1])].lower():
            self._cut_words(token, "string")
        elif token.string in _OPENING:
            self._brackets.append(self._role(token.string))
        elif token.string in _CLOSING:
            self._brackets.pop()
        self._previous = (self._previous[1], token.string)

    def _role(self, bracket: str) -> str:
        before, name = self._previous
        if bracket != "(" or not name.isidentifier() or keyword.iskeyword(name):
            return "other"
        return "signature" if before == "def" else "call"

    def _cut_words(self, token: tokenize.TokenInfo, kind: Literal["code", "string", "comment"]) -> None:
        start = self._lines[token.start[0] - 1] + token.start[1]
        indentation = len(token.line) - len(token.line.lstrip(" "))
        matches = (_WORD.fullmatch(token.string),) if kind == "code" else _WORD.finditer(token.string)
        for match in matches:
            if match:
                brackets = tuple(self._brackets)
                self.cuts.append(Cut(self._document, start + match.end(), kind, brackets, self._statement, indentation))
