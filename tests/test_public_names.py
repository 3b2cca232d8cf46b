"""What the package offers by name."""

import ast
import re
from pathlib import Path

import pytest

import sae_lens_metrics

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sae_lens_metrics.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert (getattr(sae_lens_metrics, name).__doc__ or "").strip()
    assert name in dir(sae_lens_metrics)


def test_type_checkers_and_programs_see_the_same_names():
    tree = ast.parse(Path(sae_lens_metrics.__file__).read_text(encoding="utf-8"))
    typed = [each for block in tree.body if isinstance(block, ast.If) for each in block.body if isinstance(each, ast.ImportFrom)]
    assert sorted(alias.name for each in typed for alias in each.names) == sorted(sae_lens_metrics.__all__)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        _ = sae_lens_metrics.evalute


def test_the_readme_imports_from_the_package_itself():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    imported = re.findall(r"from sae_lens_metrics import (.+)", readme)
    assert imported
    assert "from sae_lens_metrics." not in readme
    assert {name.strip() for names in imported for name in names.split(",")} <= set(sae_lens_metrics.__all__)
