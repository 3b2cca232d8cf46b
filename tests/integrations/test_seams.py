"""What is relied on of other packages is there, and is named where it is not; and it is relied on in one place only."""

import ast
import importlib
from pathlib import Path

import pytest

import sae_lens_metrics
from sae_lens_metrics.integrations.seams import ATTRIBUTES

PACKAGE = Path(sae_lens_metrics.__file__).parent
OTHERS = ("sae_lens", "transformer_lens", "transformers", "wandb", "wandb_workspaces")
DOCUMENTED = ("wandb.sdk.wandb_run", "wandb_workspaces.workspaces", "wandb_workspaces.reports", "wandb_workspaces.reports.v2.interface")
"""Modules below the top that their packages' own documentation imports from, or that hold nothing but types."""


def imports(path):
    """Names that a file imports from other packages, as (module, name, line)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OTHERS:
            yield from ((node.module, alias.name, node.lineno) for alias in node.names)


SEAMS = sorted({(module, name) for path in (PACKAGE / "integrations").glob("*.py") for module, name, _ in imports(path)})


@pytest.mark.parametrize(("module", "name"), SEAMS, ids=".".join)
def test_a_name_is_there(module, name):
    assert hasattr(importlib.import_module(module), name), f"{module}.{name}, which integrations/ relies on, is missing"


@pytest.mark.parametrize("path", ATTRIBUTES)
def test_an_attribute_is_there(path):
    module, owner, attribute = path.rsplit(".", 2)
    assert hasattr(getattr(importlib.import_module(module), owner), attribute), f"{path} is missing: it stands for {ATTRIBUTES[path]}"


def test_there_are_seams():
    assert len(SEAMS) > 20


def test_undocumented_names_are_in_one_place():
    """Outside of integrations/ only what packages export at their top, or document, is imported."""
    files = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "integrations"]
    deep = [
        f"{path.relative_to(PACKAGE)}:{line} {module}.{name}"
        for path in files
        for module, name, line in imports(path)
        if name.startswith("_") or ("." in module and module not in DOCUMENTED)
    ]
    assert deep == []


def test_each_name_says_what_it_stands_in_for():
    for path in (PACKAGE / "integrations").glob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        for module, name, line in imports(path):
            shown = [each for each in lines[line - 1 :] if name in each]
            assert any("#" in each for each in shown) or path.name == "seams.py", f"{path.name}: {module}.{name}"
