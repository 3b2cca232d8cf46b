"""What stands in pyproject.toml about the package is so."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sae_lens_metrics.metrics.registry import built_in_metrics

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROVIDERS = packages_distributions()  # by module, which reads the metadata of all that is installed
ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sae_lens_metrics"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
PAPER, SAELENS = "https://arxiv.org/abs/2406.04093", "https://github.com/decoderesearch/SAELens"


def yaml_of(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


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
    here = [line for line in PROJECT["dependencies"] if (marker := Requirement(line).marker) is None or marker.evaluate()]
    assert names(here) <= providers


def test_only_addresses_that_are_real_are_given():
    assert set(PROJECT["urls"].values()) == {PAPER, SAELENS}


def test_the_citation_has_what_the_format_requires():
    citation = yaml_of("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["title"] == PROJECT["name"]
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert [reference["url"] for reference in citation["references"]] == [PAPER, SAELENS]
    assert all({"type", "title", "authors"} <= set(reference) for reference in citation["references"])


def test_before_a_commit_the_same_linter_runs_as_in_ci():
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "tests" / "constraints.txt").read_text(), flags=re.MULTILINE))
    hooks = {repo["repo"]: repo["rev"] for repo in yaml_of(".pre-commit-config.yaml")["repos"]}
    assert hooks["https://github.com/astral-sh/ruff-pre-commit"] == f"v{pinned['ruff']}"


def test_ci_runs_every_python_that_is_supported_and_the_lowest_versions():
    jobs = yaml_of(".github/workflows/ci.yml")["jobs"]
    matrix = jobs["versions"]["strategy"]["matrix"]
    lowest = min(matrix["python"], key=lambda version: [int(part) for part in version.split(".")])
    assert PROJECT["requires-python"] == f">={lowest}"
    assert ".ci/lowest" in [step.get("run") for step in jobs["lowest"]["steps"]]
    assert "--resolution lowest-direct" in (ROOT / ".ci" / "lowest").read_text()
    assert {f"Programming Language :: Python :: {version}" for version in matrix["python"]} <= set(PROJECT["classifiers"])
    commands = [step.get("run") for step in jobs["style"]["steps"]]
    assert {"ruff check .", "ruff format --check .", "pyright", "lint-imports"} <= set(commands)


def test_a_metrics_readme_is_part_of_the_package():
    """Hatchling takes all files of the package but those that git ignores."""
    assert PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": [PACKAGE.name]}
    assert len(list(PACKAGE.glob("metrics/*/README.md"))) == 1 + len(built_in_metrics())


def test_no_file_of_the_package_is_ignored():
    """Hatchling leaves out what git ignores, even what git keeps: a folder called wandb was missing in every wheel."""
    files = [str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    ignored = subprocess.run(
        ["git", "-C", ROOT, "check-ignore", "--no-index", "--stdin"], input="\n".join(files), capture_output=True, text=True
    )
    assert ignored.stdout.splitlines() == []
    assert all((path.parent / "__init__.py").is_file() for path in PACKAGE.rglob("*.py"))


def names_used(tree):
    """What a file reads by name, or imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def test_public_mathematics_is_used_or_documented_as_such():
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    folder = PACKAGE / "functional"
    documented = set(re.findall(r"`\w+\.(\w+)`", ast.get_docstring(trees[folder / "__init__.py"])))
    used = {path: set(names_used(tree)) for path, tree in trees.items() if path.name != "__init__.py"}
    defined = set()
    for path in folder.glob("*.py"):
        functions = [node for node in trees[path].body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]
        for function in functions:
            defined.add(function.name)
            beside = {name for node in trees[path].body if node is not function for name in names_used(node)}
            elsewhere = any(function.name in names for other, names in used.items() if other != path)
            assert function.name in beside | documented or elsewhere, f"{path.name}: nothing uses {function.name}"
    assert documented <= defined
