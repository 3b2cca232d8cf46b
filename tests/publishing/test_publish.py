"""``publish`` through the real command line and the hub's own client, to a loopback hub that keeps what it gets."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from loopback_uploads import UploadHub, bytes_sent
from page_parts import parts_of
from report_data import make_report

from sae_lens_metrics import Report
from sae_lens_metrics.results.saved_reports import SavedReports

TOKEN, OTHER = "hf_" + "a1B2" * 8, "hf_" + "c3D4" * 8
SECRETS = {"LAB_API_KEY": "pelican-key-17", "USER": "quokka", "HOSTNAME": "wombat7"}
PRIVATE = ["quokka", "wombat7", "pelican", "budgie", TOKEN]
"""What must be nowhere: the user, whose home directory is called so too; a secret; a folder's name; the token."""
README = (Path(__file__).parents[2] / "sae_lens_metrics" / "publishing" / "README.md").read_text(encoding="utf-8")
CARD = "---\nlicense: mit  # ours\n---\n# Mine\n\nwords\n"
CODE = """
import io, json, sys
from sae_lens_metrics.cli.main import main

class Terminal(io.StringIO):
    def isatty(self):
        return True

for arguments, answer in json.loads(sys.argv[1]):
    sys.stdin = io.StringIO() if answer is None else Terminal(answer)
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    print(f"=== {status}", flush=True)
"""


def printed_commands(**stands_for):
    """The commands of the README, with what is there in the place of what it says."""
    (block,) = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    for name, value in {"USER/NAME": "alice/results", "USER/SAE": "alice/sae", **stands_for}.items():
        assert name in block
        block = block.replace(name, str(value))
    return [shlex.split(line)[1:] for line in block.splitlines()]


def environment(folder, hub, **more):
    """That of a user with a home directory and a login, and nothing of the test's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "WANDB", "USER", "HOME"))}
    home = folder / "home" / "quokka"
    home.mkdir(parents=True, exist_ok=True)
    hub = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return {**kept, **SECRETS, **hub, "HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200", **more}


def run(commands, folder, hub, first="", **more):
    """Runs commands in one process; gives the status and what was printed of each."""
    given = [(list(map(str, arguments)), answer) for *arguments, answer in commands]
    process = subprocess.run(
        [sys.executable, "-c", first + CODE, json.dumps(given)],
        **{"env": environment(folder, hub, **more), "cwd": folder, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True},
    )
    assert process.returncode == 0, process.stdout
    parts = re.split(r"^=== (\d+)\n", process.stdout, flags=re.MULTILINE)
    return [SimpleNamespace(status=int(status), said=said) for said, status in zip(parts[::2], parts[1::2], strict=False)]


def results(folder):
    """Two results as they are on a machine: with paths, in a folder below the home directory, under names that tell of folders."""
    home = folder / "home" / "quokka"
    text = str(home / "budgie" / "texts.jsonl")
    corpus = {"name": text, "tokens_sha256": "ab" * 32, "documents": 8}
    sae = {"model_name": str(home / "models" / "mine"), "weights_sha256": "cd" * 32, "prepend_bos": True}
    for seed, name in enumerate(("TopK", "L1")):
        report = make_report(12, seed=seed).with_warnings(f"the text {text!r} is short; {SECRETS['LAB_API_KEY']}")
        known = {"model_sha256": "ef" * 32, "metric_versions": {"n2g": 2}}
        report = report.with_provenance(sae=sae, corpus=corpus, config={"dataset": text, "seed": 0}, **known)
        report.metrics["n2g"].notes.append(f"on quokka's machine wombat7 in {home}")
        stem = "_".join(part for part in (home / "budgie" / name).parts[1:])
        report.save(folder / "results" / f"{stem}_{seed:010x}.json")
    return folder / "results"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("publish")
    given = results(folder)
    mine = next(given.glob("*TopK*"))
    notes = {"notes.json": b'{"no": "result"}'}
    models = {"alice/sae": {"README.md": CARD.encode(), "cfg.json": b"{}"}}
    with UploadHub({TOKEN: "alice"}, private=["bob/hidden"], models=models, datasets={"alice/notes": notes, "bob/hidden": notes}) as hub:
        everywhere, compare, report = printed_commands(**{"sae-metrics": given, "MINE.json": mine})
        commands = {
            "asked": ["publish", given, "--to", "alice/refused", "n\n"],
            "published": [*everywhere, "y\n"],
            "again": [*everywhere, None],
            "no terminal": ["publish", given, "--to", "alice/results", "--names", "A,B", None],
            "not private": ["publish", given, "--to", "alice/results", "--names", "A,B", "--private", "--yes", None],
            "no rights": ["publish", given, "--to", "bob/results", "--yes", None],
            "no such SAE": ["publish", given, "--card", "alice/nothing", "--yes", None],
            "compared": [*compare, "--no-report", "--all", None],
            "report": [*report, None],
            "no revision": ["report", "hf://datasets/alice/results@nope", None],
            "no results": ["compare", mine, "hf://datasets/alice/notes", None],
            "no data set": ["compare", mine, "hf://datasets/bob/hidden", None],
        }
        ended = dict(zip(commands, run(commands.values(), folder, hub), strict=True))
        offline = {
            "from the cache": ["compare", mine, "hf://datasets/alice/results", "--no-report", None],
            "not in the cache": ["compare", mine, "hf://datasets/alice/other", None],
            "no login": ["publish", given, "--to", "alice/results", "--yes", None],
        }
        ended |= zip(offline, run(offline.values(), folder, hub, HF_HUB_OFFLINE="1", HF_TOKEN=""), strict=True)
        yield SimpleNamespace(folder=folder, given=given, hub=hub, ended=ended)


def test_no_sends_nothing(published):
    asked = published.ended["asked"]
    assert asked.status == 0
    assert "to the data set alice/refused (new, public)" in asked.said
    assert "send this as alice? [y/N]" in asked.said
    assert asked.said.endswith("nothing was sent\n")
    assert b"refused" not in bytes_sent(published.hub)


def test_the_list_says_what_goes_where(published):
    said = published.ended["published"].said
    assert re.search(r"to the data set alice/results \(new, public\), http://\S+/datasets/alice/results:", said)
    assert re.search(r"  results/TopK_0000000000.json  [\d.]+ kB  new", said)
    assert "to the Space alice/results (new, public)" in said
    assert "+model-index:" in said
    assert said.index("[y/N]") < said.index("published: http://")
    assert published.ended["published"].status == 0


def test_the_files_are_read_back(published):
    files = published.hub.files("dataset", "alice/results")
    assert {*files} == {".gitattributes", "README.md", "numbers.parquet", "results/L1_0000000001.json", "results/TopK_0000000000.json"}
    copy = published.folder / "copy"
    for path, content in files.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes(content)
    original = Report.load(next(published.given.glob("*TopK*")))
    report = Report.load(copy / "results" / "TopK_0000000000.json")
    assert dict(report.estimates()) == dict(original.estimates())
    table = pd.read_parquet(copy / "numbers.parquet")
    assert {*table["sae"]} == {"L1", "TopK"}
    f1 = table[(table["metric"] == "n2g") & (table["number"] == "f1") & (table["sae"] == "TopK")].iloc[0]
    assert f1["value"] == original.metrics["n2g"].estimates["f1"].value
    assert (f1["text"], f1["model_name"], f1["metric_version"], f1["better"]) == ("texts.jsonl", "mine", 2, "higher")
    assert len(table) == sum(
        len(list(each.estimates())) for each in SavedReports({"a": copy / f1["file"], "b": copy / f1["file"]}).values()
    )


def test_the_card_of_the_data_set(published):
    card = published.hub.files("dataset", "alice/results")["README.md"].decode()
    _, settings, text = card.split("---\n", 2)
    assert yaml.safe_load(settings)["configs"] == [{"config_name": "numbers", "data_files": "numbers.parquet"}]
    for part in (
        "| number | what it is | better | L1 | TopK |",
        "`n2g/f1`",
        "texts.jsonl",
        "gao2024scaling",
        "hf://datasets/alice/results",
        "n2g 2",
    ):
        assert part in text


def test_the_card_of_the_sae_keeps_its_own(published):
    card = published.hub.files("model", "alice/sae")["README.md"].decode()
    assert card.startswith("---\nlicense: mit  # ours\nmodel-index:\n")
    assert "\n---\n# Mine\n\nwords\n\n<!-- sae-lens-metrics: begin -->\n" in card
    assert [each["name"] for each in yaml.safe_load(card.split("---\n")[1])["model-index"]] == ["sae"]
    assert published.hub.files("model", "alice/sae")["cfg.json"] == b"{}"


def test_the_page_is_a_static_space(published):
    files = published.hub.files("space", "alice/results")
    assert yaml.safe_load(files["README.md"].decode().split("---\n")[1])["sdk"] == "static"
    page = published.folder / "space.html"
    page.write_bytes(files["index.html"])
    assert "TopK" in "".join(parts_of(page).values())


def test_nothing_private_is_in_any_byte(published):
    """Of what was sent, of what is kept there, and of what is compressed in it."""
    kept = [*published.hub.files("dataset", "alice/results").values(), *published.hub.files("space", "alice/results").values()]
    sent = bytes_sent(published.hub) + b"\n".join(kept) + published.hub.files("model", "alice/sae")["README.md"]
    page = published.folder / "private.html"
    page.write_bytes(published.hub.files("space", "alice/results")["index.html"])
    table = published.folder / "private.parquet"
    table.write_bytes(published.hub.files("dataset", "alice/results")["numbers.parquet"])
    opened = "".join(parts_of(page).values()) + pd.read_parquet(table).to_csv()
    everything = (sent + opened.encode()).lower()
    for private in [*PRIVATE, str(published.folder)]:
        assert private.lower().encode() not in everything, private
    assert b"texts.jsonl" in everything


def test_a_second_time_there_is_nothing_to_send(published):
    again = published.ended["again"]
    assert again.status == 0
    assert again.said.endswith("all of it is there already: there is nothing to send\n")
    assert "4 of 4 files are there already, and are not sent again" in again.said
    assert len(published.hub.writes("/datasets/alice/results/commit")) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no terminal", "there is no terminal to ask on: look at the list, then give --yes"),
        ("not private", "the data set alice/results is there already, and public: give another name"),
        ("no rights", "the token may not write there: take one with the right to write"),
        ("no such SAE", "there is no model repository alice/nothing, or it is not for this user: check the name after --card"),
        ("no revision", "there is no such revision: check what stands after the @"),
        ("no results", "there is no result file in the data set alice/notes: take one that sae-lens-metrics publish has made"),
        ("no data set", "there is no such repository, or it is not for this user: check the name"),
        ("not in the cache", "HF_HUB_OFFLINE is set, and it is not in the hub's cache: unset it"),
        ("no login", "nothing can be published: nobody is logged in to the hub: log in with: hf auth login"),
    ],
)
def test_refusals(name, sentence, published):
    ended = published.ended[name]
    assert ended.status == 2
    (line,) = [line for line in ended.said.splitlines() if line.startswith("sae-lens-metrics: ")]
    assert sentence in line
    assert "trying again" not in ended.said


def test_published_results_are_compared(published):
    """A published copy with its original: paired, and not different in any number."""
    compared = published.ended["compared"]
    assert compared.status == 0
    notes = [line for line in compared.said.splitlines() if line.startswith(("note:", "left out", "not compared"))]
    assert notes == []
    assert "no difference beyond noise" in compared.said
    assert published.ended["from the cache"].status == 0


def test_a_page_of_published_results(published):
    assert published.ended["report"].status == 0
    assert {"TopK", "L1"} <= {*re.findall(r"TopK|L1", "".join(parts_of(published.folder / "page.html").values()))}
    assert not published.hub.asked_for("/resolve/main/numbers.parquet")


def test_a_killed_upload_goes_on(tmp_path):
    """Killed at its second commit, when the large files of that one are there: the second run sends only what is not there."""
    for seed in range(5):
        make_report(6, seed=seed).save(tmp_path / "results" / f"{seed}.json")
    first = "import sae_lens_metrics.publishing.upload as upload; upload._FILES = 2"
    arguments = [(["publish", "results", "--to", "alice/killed", "--yes"], None)]
    with UploadHub({TOKEN: "alice"}) as hub:
        process = subprocess.Popen(
            [sys.executable, "-c", f"{first}\n{CODE}", json.dumps(arguments)],
            **{"env": environment(tmp_path, hub), "cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT},
        )
        hub.kill = ("/commit/", 2, process.pid)
        process.communicate(timeout=60)
        assert process.returncode == -9
        there = {*hub.files("dataset", "alice/killed")}
        assert len(there) == 1 + 2
        begun = len(hub.sent)
        (ended,) = run([["publish", "results", "--to", "alice/killed", "--yes", None]], tmp_path, hub)
        assert ended.status == 0
        assert "2 of 7 files are there already" in ended.said
        assert len(hub.files("dataset", "alice/killed")) == 1 + 7
        objects = [path for path in hub.writes("/objects/") if path.startswith("PUT")]
        assert len(objects) == len({*objects}) == 6
        sent_again = b"".join(body for _, body in hub.sent[begun:])
        assert not [path for path in there if f'"path":"{path}"'.encode() in sent_again.replace(b": ", b":")]
