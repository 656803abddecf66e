"""Wrong images and noise are answered with one sentence, whose advice works."""

import re

import pytest
import torch
from torch import nn

from ganlib import checks
from ganlib.data import LabeledImages

GOOD = torch.linspace(-1, 1, 2 * 784).view(2, 1, 28, 28)
BYTES = (GOOD * 127.5 + 127.5).byte()
LABELED = LabeledImages(GOOD, torch.zeros(2), "digits", "embedded")
SHAPE = (1, 28, 28)


def advised(check, name, wrong, *arguments):
    """Run a check that must raise an error; return what its advice makes of ``wrong``.

    Advice is the code at the end of the sentence, up to a comma and an explanation.
    """
    with pytest.raises((TypeError, ValueError)) as got:
        check(wrong, *arguments)
    sentence = r".+, expected .+: .*(?:write|with) (.+?)(, which .*|, or .*)?\."
    code = re.fullmatch(sentence, str(got.value))[1]
    return eval(code, {"torch": torch, name: wrong, "n": 2})


def test_images_that_fit_pass():
    checks.check_images(GOOD, SHAPE)
    checks.check_images(GOOD.half(), [1, 28, 28])
    checks.check_images(torch.zeros(2, 3, 5, 7))


def test_advice_gives_the_images_that_were_meant():
    shaped = GOOD.flatten(1), GOOD[:, 0], GOOD.permute(0, 2, 3, 1)
    for wrong in (*shaped, GOOD.numpy(), LABELED):
        assert torch.equal(advised(checks.check_images, "images", wrong, SHAPE), GOOD)
    one = advised(checks.check_images, "images", GOOD[0], SHAPE)
    assert torch.equal(one, GOOD[:1])
    pixels = advised(checks.check_images, "images", BYTES, SHAPE)
    torch.testing.assert_close(pixels, GOOD, atol=0.01, rtol=0)
    for count, expected in ((3, (1, 3, 9, 8)), (4, (4, 1, 9, 8))):
        found = advised(checks.check_images, "images", torch.zeros(count, 9, 8))
        assert found.shape == expected


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (GOOD[None], r"\(1, 2, 1, 28, 28\), expected \(N, 1, 28, 28\): pass load"),
        (GOOD[:0], r"\(0, 1, 28, 28\), expected \(N, 1, 28, 28\): pass at le"),
        (torch.zeros(()), r"\(\), expected \(N, 1, 28, 28\): pass load"),
        (GOOD[..., :20], r"build the network with image_shape=\(1, 28, 20\)"),
        (None, "images is a NoneType, expected a torch tensor"),
    ],
)
def test_images_that_no_code_can_fix_are_refused_too(wrong, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        checks.check_images(wrong, SHAPE)


def test_images_in_range_pass():
    for low, high in ((-1, 1), (-0.3, 0.2), (-1.0005, 1.0005), (0, 0), (0.9, 1)):
        checks.check_range(torch.tensor([low, high]))


def test_advice_on_the_range_works():
    linear = (GOOD + 1) / 2, GOOD * 127.5 + 127.5, (GOOD + 1) * 5, 3.3 * GOOD
    for wrong in linear:
        found = advised(checks.check_range, "images", wrong)
        torch.testing.assert_close(found, GOOD)
    for wrong in (1.05 * GOOD, torch.full((2, 1), 7.0)):  # a resize overshoots, say
        found = advised(checks.check_range, "images", wrong)
        assert torch.equal(found, wrong.clamp(-1, 1))


def test_images_without_numbers_are_refused():
    for broken in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match=r"^fakes hold NaN or infinity, expected"):
            checks.check_range(torch.tensor([0.0, broken]), "fakes")


def test_advice_on_noise_works():
    shaped = torch.zeros(5), torch.zeros(2, 4), torch.zeros(2, 1, 28, 28)
    for wrong in (*shaped, torch.zeros(2, 5).long(), [[0.0] * 5] * 2):
        checks.check_noise(advised(checks.check_noise, "z", wrong, 5), 5)


def test_batchnorm_is_found_wherever_it_is():
    checks.check_separate(nn.Sequential(nn.Linear(2, 3), nn.GroupNorm(1, 3)))
    for layer in (nn.BatchNorm1d(3), nn.Sequential(nn.BatchNorm2d(3))):
        with pytest.raises(ValueError, match=r"^D has BatchNorm, expected a D that se"):
            checks.check_separate(nn.Sequential(nn.Linear(2, 3), layer))


def test_pairs_have_one_shape():
    logits = torch.zeros(4)
    checks.check_pairs(logits, logits)
    for other in (logits.unsqueeze(1), logits[:3]):
        with pytest.raises(ValueError, match=r"logits have shape \(4,\), fake ones \("):
            checks.check_pairs(logits, other)
