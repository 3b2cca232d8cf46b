import os

# before anything imports a hub client: tests never leave this machine
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

import logging
import sys
import warnings

import pytest
import torch
from browser import Reader, chromium
from datasets import Dataset
from valid_results import results_are_valid

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # small tensors: threads cost more than they give


ORDER = ("integrations", "training", "browser", "demo", "readme", "loading", "evaluation", "metrics/")
"""What is missing in another package is named first, before all that fails for it; then what takes long, so that no process is last."""


def pytest_collection_modifyitems(items):
    for item in items:
        if {"reader", "browser"} & {*item.fixturenames}:
            item.add_marker("browser")
        if any(name in item.nodeid for name in ("test_hub", "loading/", "test_sweep", "test_readme")):
            item.add_marker("hub")
    items.sort(key=lambda item: next((place for place, part in enumerate(ORDER) if part in item.nodeid), len(ORDER)))


@pytest.fixture(scope="session")
def model():
    """The real tiny language model that the package ships."""
    from sae_lens_metrics.demo.shipped import load_tiny_lm

    return load_tiny_lm()


@pytest.fixture(scope="session")
def documents():
    from itertools import islice

    from sae_lens_metrics.text.standard_library import standard_library_documents

    return list(islice(standard_library_documents("train"), 150))


@pytest.fixture(scope="session")
def dataset(documents):
    return Dataset.from_dict({"text": documents})


@pytest.fixture(scope="session")
def tokens(model, dataset):
    """Real text, [64 sequences, 64 tokens], each beginning with BOS."""
    from sae_lens_metrics.text.tokenization import Tokenization, choose_sequences, read_sequences, token_store

    store = token_store(dataset, model, Tokenization(64, True, False, "bos"))
    return choose_sequences(read_sequences(store, 64), 64, seed=0).tokens


@pytest.fixture(scope="session")
def browser():
    yield from chromium()


@pytest.fixture
def reader(browser):
    """Opens pages, which must neither complain nor request anything."""
    opened = []

    def make(page, **settings):
        opened.append(Reader(browser, page, **settings))
        return opened[-1]

    yield make
    for each in opened:
        each.context.close()
        assert each.problems == []


@pytest.fixture
def metric():
    """Registers metrics for one test."""
    from sae_lens_metrics.metrics.registry import register_metric, unregister_metric

    names = []

    def add(name, function, **about):
        register_metric(name, function, **about)
        names.append(name)

    yield add
    for name in names:
        unregister_metric(name)


@pytest.fixture(scope="session", autouse=True)
def _valid_results():
    yield from results_are_valid()


@pytest.fixture(autouse=True)
def _quiet(tmp_path, monkeypatch):
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb"))
    if "wandb" in sys.modules:  # it remembers the folders of the first run
        sys.modules["wandb"].teardown()
    for name in ("sae_lens", "transformer_lens", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="sae_lens|transformer_lens|transformers|datasets")
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Names of files need not be text, and what is logged of them must reach the process that collects reports."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report
