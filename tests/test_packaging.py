"""What stands in pyproject.toml about the package is so."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROVIDERS = packages_distributions()  # by module, which reads the metadata of all that is installed
ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sae_lens_metrics"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements):
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def imports(node: ast.AST, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """The modules that a file imports by their first name, and whether only on demand: in a function, or under a condition."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name.split(".")[0], lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and not child.level:
            yield str(child.module).split(".")[0], lazy
        yield from imports(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try | ast.If))


def test_what_is_imported_is_declared():
    required = names(PROJECT["dependencies"])
    optional = names(line for lines in PROJECT["optional-dependencies"].values() for line in lines)
    undeclared = {}
    for path in PACKAGE.rglob("*.py"):
        for module, lazy in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if module in sys.stdlib_module_names or module == PACKAGE.name:
                continue
            providers = {canonicalize_name(name) for name in PROVIDERS.get(module, [module])}
            if not providers & (required | optional if lazy else required):
                undeclared.setdefault(module, []).append(str(path.relative_to(ROOT)))
    assert not undeclared


def test_what_is_declared_is_imported():
    """Nothing is asked for in vain."""
    imported = {module for path in PACKAGE.rglob("*.py") for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")))}
    providers = {canonicalize_name(name) for module in imported for name in PROVIDERS.get(module, [])}
    assert names(PROJECT["dependencies"]) <= providers
