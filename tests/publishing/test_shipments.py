"""What is made ready to be sent, before anybody is asked: of a hub where there is nothing."""

import pytest
from report_data import make_report

from sae_lens_metrics.cli.main import main
from sae_lens_metrics.errors import PublishError
from sae_lens_metrics.publishing import Address, Destination, Private, Request, prepare
from sae_lens_metrics.results.history import METRICS_FILENAME

DATASET, SPACE = Address("dataset", "alice/results"), Address("space", "alice/page")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(Destination, "look", lambda api, address: Destination(address))
    return [make_report(4, seed=seed).save(tmp_path / "in" / folder / "it.json") for seed, folder in enumerate("ab")]


def test_results_of_one_name_get_two(files, tmp_path):
    (shipment,) = prepare(Request(files, DATASET), None, Private(), tmp_path / "out")
    assert [path for path in shipment.files if path.startswith("results/")] == ["results/it.json", "results/it-2.json"]
    assert shipment.fresh == shipment.files


def test_names_that_are_given_are_those_of_the_files(files, tmp_path):
    (shipment,) = prepare(Request(files, DATASET, names="my SAE,other"), None, Private(), tmp_path / "out")
    assert {"results/my_SAE.json", "results/other.json"} < {*shipment.files}
    with pytest.raises(PublishError, match="the same file name, my_SAE"):
        prepare(Request(files, DATASET, names="my SAE,my_SAE"), None, Private(), tmp_path / "again")


def test_the_same_results_make_the_same_bytes(files, tmp_path):
    """Or a second run would send them again."""
    first, second = (prepare(Request(files, DATASET, SPACE), None, Private(), tmp_path / name) for name in ("one", "two"))
    for one, two in zip(first, second, strict=True):
        assert {path: file.read_bytes() for path, file in one.files.items()} == {
            path: file.read_bytes() for path, file in two.files.items()
        }


def test_a_large_page_is_a_folder(files, tmp_path, monkeypatch):
    monkeypatch.setattr("sae_lens_metrics.views.page.saved._ONE_FILE", 10)
    (shipment,) = prepare(Request(files, space=SPACE), None, Private(), tmp_path / "out")
    assert {"index.html", "README.md"} < {*shipment.files}
    assert all(path.startswith("data/") and path.endswith(".js") for path in {*shipment.files} - {"index.html", "README.md"})


def test_a_last_look_finds_what_should_not_be_there(files, tmp_path):
    with pytest.raises(PublishError, match=r"README.md would hold the value of a secret environment variable, or a token: nothing is sent"):
        prepare(Request(files, DATASET), None, Private(secrets=("gao2024scaling",)), tmp_path / "out")


def test_the_card_must_be_there(files, tmp_path):
    with pytest.raises(PublishError, match="there is no model repository alice/sae"):
        prepare(Request(files, card=Address("model", "alice/sae")), None, Private(), tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in"], "it is not said where to: give --to USER/NAME for a data set"),
        (["in", "--space"], "--space without a name takes that of --to"),
        (["in", "--to", "results"], "--to takes USER/NAME"),
        (["histories", "--to", "a/b"], "only training histories are there"),
        (["nothing", "--to", "a/b"], "there is no file or folder 'nothing'"),
    ],
)
def test_what_is_missing_is_said_before_the_hub_is_asked(arguments, said, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "histories").mkdir()
    (tmp_path / "histories" / METRICS_FILENAME).write_text("{}\n")
    assert main(["publish", *arguments]) == 2
    assert said in capsys.readouterr().err
