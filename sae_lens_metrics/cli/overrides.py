"""What the command line knows better than SAEs' metadata: flags for all SAEs, or for those of one line of a list."""

import argparse
import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.cli.options import token_ids
from sae_lens_metrics.errors import SubjectError

if TYPE_CHECKING:
    from sae_lens_metrics.evaluation.order import Overrides
    from sae_lens_metrics.loading.targets import Target

__all__ = ["add_overrides", "overrides_of", "read_list"]

_CLASSES = ("HookedTransformer", "AutoModelForCausalLM", "TransformerBridge")
_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each field of ``Overrides``."""
    _add_model(parser)
    _add(parser, "--device", metavar="DEVICE", help="default: a GPU if there is one")
    _add(parser, "--hook-name", metavar="HOOK", help="hook of the SAE, if not the one in its metadata")
    _add(parser, "--output-hook-name", metavar="HOOK", help="likewise, of a transcoder's output")
    _add(parser, "--context-size", metavar="TOKENS", type=int, help="tokens a sequence, if not as in the SAE's metadata")
    _add(parser, "--prepend-bos", action=argparse.BooleanOptionalAction, help="if not as in the SAE's metadata")
    tokens = "tokens that do not count besides the tokenizer's special ones, if not as in the SAE's metadata"
    _add(parser, "--special-tokens", metavar="ID,ID", type=token_ids, help=tokens)


def overrides_of(options: argparse.Namespace) -> "Overrides":
    """What was given of those flags."""
    from sae_lens_metrics.evaluation.order import Overrides

    given: dict[str, Any] = {field.name: getattr(options, field.name) for field in dataclasses.fields(Overrides)}
    given |= {name: dict(given[name]) for name in ("model_from_pretrained_kwargs", "model_kwargs")}
    return Overrides(**given)


def read_list(path: str | Path, options: argparse.Namespace) -> "dict[Target, Overrides]":
    """The SAEs that the lines of a file name, with what is known better about each.

    A line holds a release and an SAE, or a folder, and flags for these alone; what follows a ``#`` is a comment.

    Args:
        path: The file.
        options: The command's own flags, which hold where a line says nothing else.

    Raises:
        SubjectError: If a line means nothing, or none of them means anything.
        OSError: If the file cannot be read.
    """
    from sae_lens_metrics.loading.targets import find_targets

    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SubjectError(f"the list {str(path)!r} is not text in UTF-8 ({error}): give a file with one target a line") from error
    found: dict[Target, Overrides] = {}
    for number, line in enumerate(lines, start=1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if not text:
            continue
        place = f"line {number} of {str(path)!r}"
        words, own = _read_line(text, place, options)
        try:
            found |= dict.fromkeys((target for target in find_targets(words) if target not in found), own)
        except SubjectError as error:
            raise SubjectError(f"{place}: {error}") from error
    if not found:
        raise SubjectError(f"the list {str(path)!r} names no SAE: give one target a line, RELEASE SAE_ID or a folder")
    return found


def _read_line(text: str, place: str, options: argparse.Namespace) -> "tuple[list[str], Overrides]":
    if Path(text).is_dir():
        return [text], overrides_of(options)
    parser = _LineParser(prog=place, add_help=False)
    parser.add_argument("targets", nargs="+")
    add_overrides(parser)
    parser.set_defaults(**{name: getattr(options, name) for name in vars(options) if name in parser.names()})
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""  # patterns are full of backslashes
    try:
        words = list(lexer)
    except ValueError as error:
        raise SubjectError(f"{place}: {error}") from error
    read = parser.read(words)
    return read.targets, overrides_of(read)


class _LineParser(CommandParser):
    """Raises what it has to say about a line."""

    def names(self) -> set[str]:
        return {action.dest for action in self._actions}

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise SubjectError((message or "").split("\n")[0])


def _add_model(parser: argparse.ArgumentParser) -> None:
    where = "model, if not the one in the SAE's metadata: a folder, a hub repository, or a name"
    _add(parser, "--model", metavar="MODEL", help=where)
    kind = "class to load it in (default: the one in the SAE's metadata, else what can load it)"
    _add(parser, "--model-class", choices=_CLASSES, help=kind)
    _add(parser, "--model-dtype", choices=_DTYPES, help="its dtype; auto: as in its checkpoint (default: float32)")
    spread = "spread it over GPUs and the CPU as transformers does: auto, balanced, sequential, or a JSON object"
    _add(parser, "--device-map", metavar="MAP", type=_value, help=spread)
    loading = "an argument of the model's loading, such as revision=main or trust_remote_code=true; may be repeated"
    _add(parser, "--model-from-pretrained-kwargs", metavar="KEY=VALUE", type=_pair, action="append", default=[], help=loading)
    forward = "an argument of its forward pass (SAELens's model_kwargs); may be repeated"
    _add(parser, "--model-kwargs", metavar="KEY=VALUE", type=_pair, action="append", default=[], help=forward)


def _add(parser: argparse.ArgumentParser, flag: str, **how: Any) -> None:
    """With hyphens and with underscores, as SAELens's own flags are."""
    parser.add_argument(*dict.fromkeys((flag, f"--{flag[2:].replace('-', '_')}")), **how)


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"{text!r} is no KEY=VALUE, such as revision=main")
    return name, _value(value)


def _value(text: str) -> Any:
    """JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
