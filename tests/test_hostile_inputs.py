"""A short run of what ``tests/fuzz/inputs.py`` does at length: whatever is given ends in a result, or is refused in words."""

import pytest
from hostile_inputs import Configurations, DataSets, Names, TaskFiles
from hypothesis import HealthCheck, given, settings
from saes import training_sae

from sae_lens_metrics import Subject


@pytest.fixture(scope="module")
def kinds(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    return {
        Configurations: Configurations(model, folder),
        DataSets: DataSets(Subject(model, training_sae("standard")), folder),
        TaskFiles: TaskFiles(folder),
        Names: Names(folder),
    }


@pytest.mark.parametrize(("kind", "inputs"), [(Configurations, 50), (DataSets, 50), (TaskFiles, 100), (Names, 50)])
def test_anything_ends_well(kind, inputs, kinds):
    made = kinds[kind]

    @settings(max_examples=inputs, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(made.inputs)
    def attempt(each):
        made.check(each)

    attempt()
