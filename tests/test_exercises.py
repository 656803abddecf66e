"""The four answers of ``check``."""

import inspect

import pytest
from torch import nn

from ganlib.exercises import check


def demand(holds, *hint):
    """Assert as a notebook does: here pytest would add the values to the hint."""
    if not holds:
        raise AssertionError(*hint)


def is_small(answer):
    demand(answer < 1, "probabilities end at 1")


def squares_three(function):
    demand(function(3) == 9, "square it")


@pytest.fixture
def verdict(capsys):
    def of(answer, test):
        check(answer, test)
        return capsys.readouterr().out

    return of


def test_a_right_value_is_right(verdict):
    assert verdict(0.5, is_small) == "right\n"


def test_a_wrong_value_gets_the_hint(verdict):
    assert verdict(2.0, is_small) == "not yet: probabilities end at 1\n"


def test_dots_have_not_been_answered_yet(verdict):
    assert verdict(..., is_small) == "not answered yet\n"


def test_a_right_function_is_right(verdict):
    assert verdict(lambda x: x * x, squares_three) == "right\n"


def test_a_wrong_function_gets_the_hint(verdict):
    assert verdict(lambda x: x + x, squares_three) == "not yet: square it\n"


def test_a_function_that_returns_dots_has_not_been_answered_yet(verdict):
    def unanswered(x):
        return ...

    assert verdict(unanswered, squares_three) == "not answered yet\n"


def test_a_function_that_falls_over_is_told_how(verdict):
    expected = "not yet: your answer raised ZeroDivisionError: division by zero\n"
    assert verdict(lambda x: x / 0, squares_three) == expected


def test_a_function_that_takes_too_few_arguments_is_told_so(verdict):
    assert "raised TypeError" in verdict(lambda: 9, squares_three)


def test_a_value_of_the_wrong_kind_is_told_so(verdict):
    assert "not yet: your answer raised TypeError" in verdict("half", is_small)


def test_a_test_that_returns_false_is_not_passed(capsys):
    check(4, lambda answer: answer == 3)
    assert capsys.readouterr().out == "not yet: the property does not hold\n"


def test_an_assertion_without_a_hint_still_says_something(verdict):
    def without_a_hint(answer):
        demand(answer < 1)

    assert verdict(2.0, without_a_hint) == "not yet: the property does not hold\n"


def test_a_network_reaches_the_test_as_it_is(verdict):
    def has_parameters(network):
        assert len(list(network.parameters())) == 2, "one layer"

    assert verdict(nn.Linear(2, 3), has_parameters) == "right\n"


def test_a_class_reaches_the_test_as_it_is(verdict):
    def is_a_network(answer):
        assert issubclass(answer, nn.Module), "derive it from nn.Module"

    assert verdict(nn.Linear, is_a_network) == "right\n"


def test_a_function_keeps_its_signature(verdict):
    def takes_real_and_fake(function):
        names = list(inspect.signature(function).parameters)
        assert names == ["real", "fake"], "two arguments"

    assert verdict(lambda real, fake: 0, takes_real_and_fake) == "right\n"


def test_stopping_the_kernel_is_no_wrong_answer():
    def stopped(answer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(1, stopped)
