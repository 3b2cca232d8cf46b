import torch
from hypothesis import given
from hypothesis import strategies as st

from sae_lens_metrics.functional.runs_of_rows import runs_of_rows

rows_of_width = [st.lists(st.lists(st.integers(-3, 9), min_size=n, max_size=n), min_size=1, max_size=12) for n in range(1, 5)]


def greedy(rows, most):
    """Row by row, with sets."""
    runs = []
    for row in rows:
        if runs and len(set().union(*runs[-1], row)) <= most:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


@given(st.one_of(rows_of_width), st.integers(0, 12))
def test_runs_are_those_of_a_loop_over_sets(rows, most):
    keys = torch.tensor(rows)
    assert [keys[run].tolist() for run in runs_of_rows(keys, most)] == greedy(rows, most)


def test_all_rows_are_one_run_where_there_is_room():
    keys = torch.arange(12).view(4, 3)
    assert runs_of_rows(keys, 12) == [slice(0, 4)]
    assert runs_of_rows(keys, 11) == [slice(0, 3), slice(3, 4)]


def test_no_rows_are_no_runs():
    assert runs_of_rows(torch.zeros(0, 3, dtype=torch.long), 5) == []
