"""Numbers and text as a terminal shows them."""

import pytest

from sae_lens_metrics.results.in_words import printable, shown, with_error


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (0.12345, 0.0123, "0.123 ± 0.012"),
        (123.456, 12.3, "123 ± 12"),
        (0.5, 0.000012, "0.500000 ± 0.000012"),
        (0.5, 0.0000012, "0.5 ± 1.2e-06"),
        (3e-8, 1.23e-9, "3e-08 ± 1.2e-09"),
        (0.123456, None, "0.1235"),
        (16.0, 0.0, "16"),
    ],
)
def test_the_error_decides_the_digits(value, stderr, text):
    assert with_error(value, stderr) == text
    assert with_error(value, stderr, shown=False) == text.split(" ± ")[0]


def test_control_characters_are_written_out():
    assert printable("a\x00\u202eb\n é") == "a\\x00\\u202eb\\n é"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (-3, "-3"),
        (10**400, "a whole number of 401 digits"),
        (10**5000, "a whole number of more than 4,000 digits"),
        (float("nan"), "NaN"),
        ("a\x1bb", "'a\\x1bb'"),
        ("x" * 100, f"'{'x' * 59} …"),
        ([1, None, "b"], "[1, null, 'b']"),
        ([], "[]"),
        ([[1], {}], "a list of 2"),
        (list(range(5)), "a list of 5"),
        (["x" * 50, "y" * 50], "a list of 2"),
        ({"a": 1}, "an object of 1"),
        (object(), "a object"),
    ],
    ids=range(15),
)
def test_a_value_is_one_short_line(value, text):
    assert shown(value) == text
