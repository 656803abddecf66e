"""Wrong images and noise end in one sentence that says how to mend it."""

import numpy as np
import pytest
import torch

from ganlib.checks import check_images, check_noise, check_range

GOOD = torch.zeros(2, 1, 28, 28)


def test_images_that_fit_pass():
    check_images(GOOD, (1, 28, 28))


def test_any_size_passes_when_none_is_asked_for():
    check_images(torch.zeros(2, 3, 5, 7))


def test_image_shape_may_be_a_list():
    check_images(GOOD, [1, 28, 28])


@pytest.mark.parametrize(
    ("images", "error", "sentence"),
    [
        (np.zeros((2, 1, 28, 28), "f"), TypeError, "came as ndarray.*torch.as_tensor"),
        (None, TypeError, "came as NoneType, expected a torch tensor"),
        (GOOD.byte(), TypeError, r"uint8.*images.float\(\) / 127.5 - 1"),
        (GOOD.long(), TypeError, r"int64.*images.float\(\) / 127.5 - 1"),
        (GOOD.bool(), TypeError, r"torch.bool, expected float32"),
        (GOOD.double(), TypeError, r"float64, expected float32.*images.float\(\)"),
        (GOOD.flatten(1), ValueError, r"\(2, 784\).*images.view\(-1, 1, 28, 28\)"),
        (GOOD[:, 0], ValueError, r"\(2, 28, 28\).*images.unsqueeze\(1\)"),
        (GOOD[None], ValueError, r"\(1, 2, 1, 28, 28\), expected \(N, C, H, W\)"),
        (torch.zeros(()), ValueError, r"shape \(\), expected \(N, C, H, W\)"),
        (
            torch.zeros(2, 3, 28, 28),
            ValueError,
            "3 channels.*for 1 channel of.*make them gray",
        ),
        (torch.zeros(2, 1, 32, 28), ValueError, "32×28 pixels.*28×28.*interpolate"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, error, sentence):
    with pytest.raises(error, match=sentence):
        check_images(images, (1, 28, 28))


def test_advice_for_too_many_channels_works():
    color = torch.zeros(2, 3, 28, 28)
    check_images(color.mean(1, keepdim=True), (1, 28, 28))


def test_advice_for_three_channels_does_not_speak_of_gray():
    with pytest.raises(ValueError, match="1 channel of") as caught:
        check_images(GOOD, (3, 28, 28))
    assert "gray" not in str(caught.value)


def test_float64_is_welcome_where_it_is_the_default():
    torch.set_default_dtype(torch.float64)
    try:
        check_images(GOOD.double())
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-0.3, 0.2), (-1.0005, 1.0005)])
def test_images_within_the_range_pass(low, high):
    check_range(torch.tensor([low, high]).view(2, 1, 1, 1))


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (0, 1, r"from 0 to 1, which looks like \[0, 1\].*images \* 2 - 1"),
        (0, 255, r"from 0 to 255.*images / 127.5 - 1"),
        (-1, 1.01, r"to 1.01, expected \[-1, 1\].*images.clamp\(-1, 1\)"),
        (-1.01, 1, r"from -1.01 to 1"),
        (-1, float("inf"), "NaN or infinite values"),
        (-1, float("nan"), "NaN or infinite values"),
    ],
)
def test_images_out_of_range_are_refused(low, high, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_range(torch.tensor([float(low), high]).view(2, 1, 1, 1))


def test_no_images_at_all_are_refused():
    with pytest.raises(ValueError, match="no images at all"):
        check_images(torch.zeros(0, 1, 28, 28))


def test_noise_that_fits_passes():
    check_noise(torch.zeros(5, 100), 100)


@pytest.mark.parametrize(
    ("z", "error", "sentence"),
    [
        ([0.0] * 100, TypeError, "z came as list"),
        (torch.zeros(5, 100).long(), TypeError, r"int64.*z.float\(\)"),
        (torch.zeros(5, 100).double(), TypeError, r"float64.*z.float\(\)"),
        (torch.zeros(100), ValueError, r"\(100,\), expected \(N, 100\)"),
        (torch.zeros(5, 99), ValueError, r"\(5, 99\).*torch.randn\(n, 100\)"),
        (torch.zeros(5, 100, 1, 1), ValueError, r"\(5, 100, 1, 1\)"),
    ],
)
def test_noise_that_does_not_fit_is_refused(z, error, sentence):
    with pytest.raises(error, match=sentence):
        check_noise(z, 100)


@pytest.mark.parametrize("wrong", [GOOD.byte(), GOOD[:, 0], torch.zeros(2, 3, 28, 28)])
def test_every_refusal_is_one_line(wrong):
    with pytest.raises((TypeError, ValueError)) as caught:
        check_images(wrong, (1, 28, 28))
    assert "\n" not in str(caught.value)
