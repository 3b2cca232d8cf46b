"""Real text that every machine has: the Python standard library's own source and documentation."""

import ast
import inspect
import sysconfig
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

__all__ = ["standard_library_documents"]

_HELD_OUT_SHARE = 20  # one file in twenty


def standard_library_documents(split: Literal["train", "held_out"]) -> Iterator[str]:
    """Yields the standard library's modules, and each module's docstrings as one document of prose.

    A file's split follows from its name alone, so that the held-out files stay held out on every Python version.

    Args:
        split: ``"held_out"`` for one file in twenty, ``"train"`` for the others.

    Yields:
        The text of one document, in an order that does not follow the alphabet (the order of a hash of the file's name).
    """
    root = Path(sysconfig.get_path("stdlib"))
    names = (path.relative_to(root).as_posix() for path in root.rglob("*.py") if "site-packages" not in path.parts)
    for key, name in sorted((zlib.crc32(name.encode()), name) for name in names):
        if (key % _HELD_OUT_SHARE == 0) != (split == "held_out"):
            continue
        try:
            source = (root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # some of the library's own tests are invalid on purpose
            continue
        if source.strip():
            yield source
            prose = _prose(source)
            if prose:
                yield prose


def _prose(source: str) -> str:
    """All docstrings of a module, dedented, as paragraphs; empty where there are hardly any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return ""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented))
    text = "\n\n".join(inspect.cleandoc(docstring) for docstring in docstrings if docstring)
    return text if len(text) > 200 else ""
