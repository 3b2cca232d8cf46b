"""The data files of sae-probes for tests, without the 540 MB that it depends on."""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

REQUIREMENT = "sae-probes==0.4.2"
NO_INDEX = "SAE_LENS_METRICS_NO_INDEX"


@pytest.fixture(scope="session")
def sae_probes(request):
    """The package's folder: where it is installed, or from the package index, kept in pytest's cache."""
    if importlib.util.find_spec("sae_probes") is None:
        folder = request.config.cache.mkdir(REQUIREMENT.replace("==", "-"))
        _download(folder)
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("sae_probes")
    assert "sae_probes" not in sys.modules  # importing it would load XGBoost
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _download(folder):
    if list(folder.glob("sae_probes-*.dist-info")):
        return
    fresh = tempfile.mkdtemp(dir=folder.parent)  # of this process alone, put in place when it is whole
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", fresh, REQUIREMENT]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600)
    try:
        if process.returncode == 0:
            os.rename(fresh, folder)
    except OSError:  # another process was faster
        pass
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if process.returncode and os.environ.get(NO_INDEX):
        pytest.skip(f"{NO_INDEX} is set, and {REQUIREMENT} is not installed")
    # not a reason to skip on its own: the tests of 48 tasks would pass unseen
    assert process.returncode == 0, f"{REQUIREMENT} cannot be installed; set {NO_INDEX}=1 to skip its tests\n{process.stderr}"
