"""Inputs that strangers could give, by kind, and what must come of each: a result, or a refusal in a few words of our own."""

import json
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import Dataset
from hypothesis import strategies as st
from refusals import in_few_words
from saes import HOOK, training_sae

from sae_lens_metrics import Corpus
from sae_lens_metrics.errors import MetricsError
from sae_lens_metrics.loading.pretrained import load_pretrained, read_info
from sae_lens_metrics.loading.targets import find_targets
from sae_lens_metrics.metrics.probe.tasks.user_files import load_task_file
from sae_lens_metrics.results.in_words import printable
from sae_lens_metrics.results.sae_names import short_names
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.text.datasets import load_text_dataset

ANY_TEXT = st.text(st.characters(codec=None), max_size=12) | st.sampled_from(
    ["\x1b[31mred", "\udc80", "../../x", "a\x00b", "", "none", "1e999"]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.sampled_from([0, -1, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf")])
    | ANY_TEXT
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3), max_leaves=5)
OLD = {"model_name": "tiny_lm", "hook_point": HOOK, "hook_point_layer": 1, "hook_point_head_index": None, "context_size": 64}
OLD |= {"dtype": "torch.float32", "device": "cpu", "prepend_bos": True, "activation_fn_str": "relu", "normalize_activations": "none"}
METADATA = ["hook_name", "context_size", "prepend_bos", "model_name", "model_class_name", "hook_head_index", "seqpos_slice", "dataset_path"]
METADATA += ["exclude_special_tokens", "sae_lens_version", "sequence_separator_token", "disable_concat_sequences", "l0", "neuronpedia_id"]
METADATA += ["model_from_pretrained_kwargs", "hf_hook_name", "hook_name_out"]
SETTINGS = ["d_in", "d_sae", "d_out", "dtype", "device", "architecture", "metadata", "normalize_activations", "reshape_activations", "k"]
SETTINGS += ["apply_b_dec_to_input", "sae_lens_version", "activation_fn_kwargs", "rescale_acts_by_decoder_norm", "hook_point", "hook_name"]


def ends_well(action):
    """Whether something gave a result; ``False`` if it was refused as it must be."""
    try:
        action()
    except MetricsError as error:
        in_few_words(error)
        return False
    return True


class Configurations:
    """Folders of SAEs whose ``cfg.json`` is changed in up to three places, or is anything."""

    def __init__(self, model, folder):
        self._model, self._folders = model, []
        self._rows = Dataset.from_dict({"text": ["some words of a text, and more of them. " * 20] * 4})
        for architecture in ("standard", "topk", "jumprelu", "gated"):
            path = folder / architecture
            inference_sae(training_sae(architecture)).save_model(path)
            self._folders.append((path, json.loads((path / "cfg.json").read_text())))
        training_sae("batchtopk").save_model(folder / "training")
        self._folders.append((folder / "training", json.loads((folder / "training" / "cfg.json").read_text())))
        path, config = self._folders[0]
        self._folders.append((path, {**OLD, "d_in": config["d_in"], "d_sae": config["d_sae"]}))

    @property
    def inputs(self):
        changes = st.lists(
            st.tuples(st.sampled_from([*SETTINGS, *(f"metadata.{each}" for each in METADATA)]), VALUES), min_size=1, max_size=3
        )
        return st.tuples(
            st.integers(0, len(self._folders) - 1), changes, st.none() | st.sampled_from(SETTINGS) | VALUES.map(lambda each: [each])
        )

    def check(self, given):
        which, changes, other = given
        path, config = self._folders[which]
        config = json.loads(json.dumps(config))
        for name, value in changes:
            section = config.get("metadata") if name.startswith("metadata.") else config
            if isinstance(section, dict):
                section[name.removeprefix("metadata.")] = value
        if isinstance(other, str):
            config.pop(other, None)
        (path / "cfg.json").write_text(json.dumps(other[0] if isinstance(other, list) and len(changes) == 3 else config))
        return ends_well(lambda: self._use(path))

    def _use(self, path):
        subject = load_pretrained(str(path), model=self._model, device="cpu")
        corpus = Corpus.from_dataset(self._rows, subject, tokens=128)
        next(corpus.activations(subject, 2, progress="reading"))
        json.dumps([subject.describe(), subject.settings()])


CELLS = (
    st.none()
    | ANY_TEXT
    | st.integers(-5, 5000)
    | st.floats()
    | st.lists(st.integers(-5, 5000) | ANY_TEXT, max_size=4)
    | st.just("words of a text " * 30)
)
COLUMNS = st.sampled_from(["text", "tokens", "input_ids", "problem", "label", "group"]) | ANY_TEXT
WORDS = st.fixed_dictionaries({"text": st.just("words of a text " * 30)})
ROWS = st.lists(WORDS | st.dictionaries(COLUMNS, CELLS, max_size=3), max_size=6) | st.lists(WORDS, min_size=1, max_size=6)
SUFFIXES = st.sampled_from([".jsonl", ".csv", ".parquet", ".jsonl", ".csv", ".txt", ".json", ""])
DAMAGE = st.just(None) | st.just(None) | st.binary(max_size=6)


def content(suffix, rows, damage, where):
    """A file of rows, with some bytes put into it."""
    if suffix == ".parquet":
        written = _parquet(rows)
    elif suffix == ".csv":
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
        written = "\n".join(",".join(map(json.dumps, line)) for line in lines).encode("utf-8", "replace")
    else:
        written = "\n".join(map(json.dumps, rows)).encode()
    place = int(where * len(written))
    return written if damage is None else written[:place] + damage + written[place:]


def _parquet(rows):
    try:
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
        return sink.getvalue().to_pybytes()
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError):  # no table can hold such rows
        return b"PAR1"


class DataSets:
    """Files of rows that hold anything, some damaged."""

    inputs = st.tuples(SUFFIXES, ROWS, st.integers(1, 8), DAMAGE, st.floats(0, 1))

    def __init__(self, subject, folder):
        self._subject, self._folder = subject, folder

    def check(self, given):
        suffix, rows, times, damage, where = given
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            path = Path(folder) / f"rows{suffix}"
            path.write_bytes(content(suffix, rows * times, damage, where))
            return ends_well(lambda: Corpus.from_dataset(str(path), self._subject, tokens=128))


class TaskFiles:
    """Files of labelled texts, some of them whole, some damaged, with labels and groups of any kind."""

    _SUFFIXES = st.sampled_from([".jsonl", ".csv", ".parquet"] * 3 + [".txt", ".json", ""])
    _LABELS = st.sampled_from(
        [[0, 1], [0, 1], [0, 1], ["0", "1"], ["a", "b"], [True, False], [0, 1, 2], [1], [None, 1], ["\x1b", "\udc80"]]
    )
    _GROUPS = st.sampled_from([None, None, 1, 2, 5, 20])
    inputs = st.tuples(
        _SUFFIXES, ROWS, st.integers(15, 90), _LABELS, _GROUPS, DAMAGE, st.floats(0, 1), st.sampled_from(["", "", "", "", ":a", ":1", ":"])
    )

    def __init__(self, folder):
        self._folder = folder

    def check(self, given):
        suffix, others, n, labels, groups, damage, where, positive = given
        rows = [{"text": f"text {i}", "label": labels[i % len(labels)]} for i in range(n)]
        rows = [{**row, "group": f"{i % groups}"} for i, row in enumerate(rows)] if groups else rows
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            path = Path(folder) / f"task{suffix}"
            path.write_bytes(content(suffix, [*rows, *(others if n % 4 == 0 else [])], damage, where))
            return ends_well(lambda: load_task_file(f"{path}{positive}", 40, seed=0))


class Names:
    """Names of SAEs, releases, folders, data sets and tasks; no pattern among them, as each takes a process of its own."""

    inputs = st.lists(ANY_TEXT | st.text(max_size=400).filter(lambda text: not set(text) & set("\\*+?|^$()[]{}")), min_size=1, max_size=3)

    def __init__(self, folder):
        self._folder = folder

    def check(self, given):
        assert all(each.isprintable() for name in given for each in printable(name))
        short_names(list(dict.fromkeys(given)))
        found = [ends_well(lambda: find_targets(given[:1])), self._as_folder(given[0])]
        if len(given) > 1:
            found.append(ends_well(lambda: find_targets(given)))
        found.append(ends_well(lambda: load_task_file(given[0], 40, seed=0)))
        found.append(ends_well(lambda: load_text_dataset(given[0])))
        return any(found)

    def _as_folder(self, name):
        """Whether a folder of that name, where the system allows it, is found and read."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            path = Path(folder) / name.replace("/", "_")
            try:
                path.mkdir(exist_ok=True)
            except (OSError, ValueError):
                return False
            (path / "cfg.json").write_text(json.dumps({**OLD, "d_in": 4, "d_sae": 8}))
            return ends_well(lambda: [read_info(each.release) for each in find_targets([str(path)])])
