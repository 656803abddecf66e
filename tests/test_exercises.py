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
    demand(list(inspect.signature(function).parameters) == ["x"])
    demand(function(3) == 9, "square it")


NETWORK = nn.Linear(2, 3)
CASES = [
    (0.5, is_small, "right"),
    (2.0, is_small, "not yet: probabilities end at 1"),
    (..., is_small, "not answered yet"),
    ("half", is_small, "not yet: your answer raised TypeError: '<' not supported"),
    (lambda x: x * x, squares_three, "right"),
    (lambda x: x + x, squares_three, "not yet: square it"),
    (lambda x: ..., squares_three, "not answered yet"),
    (lambda x: x / 0, squares_three, "not yet: your answer raised ZeroDivisionError"),
    (lambda y: y * y, squares_three, "not yet: the property does not hold"),
    (NETWORK, lambda answer: answer is NETWORK, "right"),
    (nn.Linear, lambda answer: answer is nn.Linear, "right"),
    (4, lambda answer: answer == 3, "not yet: the property does not hold"),
]


@pytest.mark.parametrize(("answer", "test", "words"), CASES)
def test_answer_is_checked(answer, test, words, capsys):
    check(answer, test)
    assert capsys.readouterr().out.startswith(words)


def test_stopping_the_kernel_is_not_a_wrong_answer():
    def stopped(answer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(1, stopped)
