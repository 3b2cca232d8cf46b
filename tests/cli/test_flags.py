"""Every flag with values that mean nothing: a sentence and status 2, or the command begins; the long form is tests/fuzz/flags.py."""

import random

import pytest
from flag_inputs import KINDS_OF_USE, all_flags, arguments_of, command_line
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_lens_metrics import MetricsConfig
from sae_lens_metrics.cli.main import COMMANDS, main
from sae_lens_metrics.errors import ConfigError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with command_line(tmp_path_factory.mktemp("flags")) as run:
        yield run


@pytest.fixture(scope="module")
def flags(run):
    """All flags but SAELens's own, which take longer to read."""
    return all_flags(saelens=False)


def test_every_command_has_its_flags(flags):
    assert set(flags) == set(COMMANDS)
    assert "--tokens" in flags["evaluate"]
    assert "--metrics.tokens" in flags["train"]
    assert "--alpha" in flags["compare"]
    assert sum(map(len, flags.values())) > 150


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_whatever_a_flag_is_given(data, run, flags):
    command = data.draw(st.sampled_from(sorted(flags)))
    flag = data.draw(st.sampled_from([*flags[command], ""]))
    kind = data.draw(st.sampled_from(KINDS_OF_USE))
    arguments = arguments_of(command, flag, kind, random.Random(data.draw(st.integers(0, 1000))))
    outcome = run(arguments)
    assert outcome.defect() == "", (arguments, outcome)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
@pytest.mark.parametrize("flag", ["--memory-gb", "--max-overhead"])
def test_a_number_must_be_finite(flag, value, capsys):
    assert main(["evaluate", "a", "b", f"{flag}={value}"]) == 2
    name = flag.removeprefix("--").replace("-", "_")
    assert capsys.readouterr().err == f"sae-lens-metrics: error: {name} is {float(value)}, expected a finite number\n"


def test_no_setting_of_any_metric_may_be_infinite():
    """Of every field that holds a number, as JSON has neither NaN nor infinity, and a tensor no whole numbers of 70 bits."""
    config, tried = MetricsConfig(), 0
    for metric, own in config.settings.items():
        for name, value in vars(own).items():
            wrong = [float("inf"), float("nan")] if isinstance(value, float) else [2**70] if type(value) is int else []
            for each in wrong:
                with pytest.raises(ConfigError, match=name):
                    MetricsConfig(**{metric: type(own)(**{**vars(own), name: each})})
                tried += 1
    assert tried > 10
    with pytest.raises(ConfigError, match="tokens is too large"):
        MetricsConfig(tokens=10**5000)


def test_a_standard_deviation_that_is_wanted_is_finite(run):
    for value in ("inf", "nan", "0", "-1"):
        outcome = run(["audit", "a", "--wanted-s", f"ablation/sparsity={value}"])
        assert outcome.status == 2


def test_two_dashes_are_no_value(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--tasks=--"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[0] == "sae-lens-metrics demo: --tasks takes a value, but none is given"


def test_what_is_quoted_is_short_and_visible(run):
    outcome = run(["report", "A.json", "--folder", "--nothing\x1b[31m" + "x" * 5000])
    assert "\x1b" not in outcome.said
    assert max(map(len, outcome.said.splitlines())) < 500
