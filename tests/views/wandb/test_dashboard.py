import json
import sys

import pytest
import wandb
from loopback_wandb import ENTITY, PROJECT, loopback_wandb
from runners import small_metrics
from saes import training_sae
from specs import SPECS

from sae_lens_metrics import Corpus, Subject, evaluate
from sae_lens_metrics.cli.dashboard import run_dashboard
from sae_lens_metrics.errors import ConfigError, MetricsError
from sae_lens_metrics.metrics.directions.spec import DirectionsConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.registry import built_in_metrics
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.views.wandb.log import loggable

HERE = ["--entity", ENTITY, "--project", PROJECT]


def printed(capsys, *arguments):
    capsys.readouterr()
    run_dashboard([*HERE, *arguments])
    return capsys.readouterr().out


@pytest.fixture
def specification(capsys):
    return json.loads(printed(capsys, "--dry-run"))


def sections(specification):
    return {section["name"]: section["panels"] for section in specification["section"]["panelBankConfig"]["sections"]}


def panels(specification, kind):
    return [panel["config"] for some in sections(specification).values() for panel in some if panel["viewType"] == kind]


def found(data, key):
    """Every value under a key, however deep."""
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else []
    here = [data[key]] if isinstance(data, dict) and key in data else []
    return here + [value for each in inner for value in found(each, key)]


def without_ids(data):
    if isinstance(data, dict):
        return {key: without_ids(value) for key, value in data.items() if key != "__id__"}
    return [without_ids(value) for value in data] if isinstance(data, list) else data


def plotted(specification):
    """Every key of a log that a panel shows."""
    keys = {key for config in panels(specification, "Run History Line Plot") for key in config["metrics"]}
    keys |= {key for config in panels(specification, "Bar Chart") for key in config["metrics"]}
    keys |= {key for config in panels(specification, "Media Browser") for key in config["mediaKeys"]}
    keys |= {key for config in panels(specification, "Weave") for key in found(config, "val")}
    axes = {config[axis] for config in panels(specification, "Scatter Plot") for axis in ("xAxis", "yAxis")}
    return keys | {axis.removeprefix("summary:") for axis in axes}


def test_it_has_a_section_for_each_metric(specification):
    names = list(sections(specification))
    assert {spec.title for spec in SPECS.values()} <= set(names)
    assert names[0] == "SAEs by L0"
    assert {"Latents and examples", "Figures", "Runs side by side"} <= set(names)
    for metric, spec in SPECS.items():
        drawn = {key for panel in sections(specification)[spec.title] for key in panel["config"].get("metrics", [])}
        assert {f"{metric}/{name}" for name in (spec.headline, *spec.shown(), *spec.baselines())} == drawn


def test_every_panel_has_something_to_show(specification, model, tokens, tmp_path):
    names = [*built_in_metrics()]
    subject = Subject(model, training_sae("topk"))
    probes = ProbeConfig(tasks=["base64", "hexadecimal", "inside_string"], examples=40)  # two of one family
    inference_sae(training_sae("standard")).save_model(tmp_path / "second")
    more = {"probe": probes, "directions": DirectionsConfig(against=str(tmp_path / "second"))}
    report = evaluate(subject, Corpus.from_tokens(tokens), small_metrics(names=names, tokens=4096, **more))
    logged = set(loggable(report))
    keys = plotted(specification)
    assert len(keys) > 40
    assert keys - logged == set()
    assert {key for key in logged if "/figure_" in key} <= keys  # and no figure is forgotten
    assert {"n2g/latents", "n2g/examples"} <= keys
    config = {f"config:sae.value.{key}" for key in report.provenance["sae"]}
    assert {panel["zAxis"] for panel in panels(specification, "Scatter Plot")} <= config
    assert {f"config:{panel['groupBy']}" for panel in panels(specification, "Bar Chart")} <= config
    (columns,) = found(specification, "columnOrder")
    assert set(columns) <= config | {f"summary:{key}" for key in logged} | {"run:displayName"}


def test_what_is_saved_is_what_a_dry_run_prints(capsys, monkeypatch):
    expected = json.loads(printed(capsys, "--dry-run"))
    with loopback_wandb(monkeypatch) as server:
        said = printed(capsys, "--name", "My SAEs")
    (view,) = server.views
    assert (view["entityName"], view["projectName"], view["displayName"]) == (ENTITY, PROJECT, "My SAEs")
    assert without_ids(json.loads(view["spec"])) == without_ids(expected)
    assert f"{server.url}/{ENTITY}/{PROJECT}?nw=" in said


def test_a_server_that_refuses_is_one_sentence(capsys, monkeypatch):
    with loopback_wandb(monkeypatch) as server:
        server.refuses = True
        with pytest.raises(MetricsError, match=rf"did not save the dashboard in {ENTITY}/{PROJECT} \(.*wandb login") as error:
            run_dashboard(HERE)
    assert "\n" not in str(error.value)


def test_without_a_login(monkeypatch):
    wandb.teardown()
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "/nowhere")
    with pytest.raises(MetricsError, match="wandb login"):
        run_dashboard(HERE)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(ConfigError, match=r"pip install 'sae-lens-metrics\[dashboard\]'"):
        run_dashboard([*HERE, "--dry-run"])


def test_a_name_that_wandb_refuses():
    with pytest.raises(ConfigError, match="does not accept"):
        run_dashboard([*HERE, "--dry-run", "--name", "SAEs 🎉"])


def test_a_project_must_be_named(capsys):
    with pytest.raises(SystemExit) as status:
        run_dashboard(["--entity", ENTITY])
    assert status.value.code == 2
    assert "--project" in capsys.readouterr().err
