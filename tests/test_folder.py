"""A learner's own images: every kind that Pillow reads, and what cannot be read."""

import io
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ganlib.checks import check_range
from ganlib.data import load_folder

SIZE = (8, 8)


def save(image, path, **arguments):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **arguments)


def plain(color, mode="RGB"):
    return Image.new(mode, SIZE, color)


def colors(folder, channels=3):
    """The color (0 to 255) in the middle of each image of a folder."""
    images = load_folder(folder, (channels, *SIZE)).images
    return ((images[:, :, 4, 4] + 1) * 127.5).round().int().tolist()


def test_pixels_come_out_as_they_are(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), "u1")
    pixels[0, 0] = 0, 255, 0
    save(Image.fromarray(pixels), tmp_path / "a.PNG")
    images, labels, name, source = load_folder(tmp_path, (3, 6, 8))
    expected = torch.tensor(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    torch.testing.assert_close(images, expected, rtol=0, atol=0)
    assert (labels.dtype, labels.tolist()) == (torch.int64, [0])
    assert (name, source) == (tmp_path.name, "folder")


@pytest.mark.parametrize(
    ("image", "expected", "name", "words"),
    [
        (plain(90, "L"), [90] * 3, "a.png", {}),
        (plain(1, "1"), [255] * 3, "a.png", {}),
        (plain((0, 0, 0, 128), "RGBA"), [127] * 3, "a.png", {}),  # on white
        (plain((0, 0), "LA"), [255] * 3, "a.tiff", {}),
        (plain((0, 255, 255, 0), "CMYK"), [255, 0, 0], "a.tiff", {}),
        (plain("red").quantize(4), [255, 0, 0], "a.gif", {}),
        (plain("red").quantize(4), [255] * 3, "a.gif", {"transparency": 0}),
        (plain("red"), [255, 0, 0], "a.gif", {"append_images": [plain("blue")]}),
    ],
)
def test_every_kind_of_image_is_read(tmp_path, image, expected, name, words):
    save(image, tmp_path / name, save_all=len(words) > 0, **words)
    assert colors(tmp_path) == [expected]


def test_gray_is_the_brightness_that_the_eye_sees(tmp_path):
    save(plain("red"), tmp_path / "a.png")
    assert colors(tmp_path, channels=1) == [[76]]  # 0.299 · 255, ITU-R 601


@pytest.mark.parametrize("kind", ["uint16", "int32", "float32"])
def test_gray_images_of_more_than_8_bits_are_left_out(tmp_path, capsys, kind):
    save(Image.fromarray(np.ones(SIZE, kind)), tmp_path / "scan.tif")
    save(plain(7, "L"), tmp_path / "x.png")
    assert colors(tmp_path, channels=1) == [[7]]
    reason = "scan.tif (more than 8 bits: save it with 8)"
    assert capsys.readouterr().out == f"Left out: {reason}.\n"


def test_resized_images_stay_in_range(tmp_path):
    steps = np.kron(np.eye(4, dtype="u1"), np.full((7, 7), 255, "u1"))
    save(Image.fromarray(steps), tmp_path / "a.png")
    check_range(load_folder(tmp_path, (1, 20, 20)).images)


def test_middle_is_cut_out(tmp_path):
    wide = Image.new("RGB", (48, 16), "red")
    wide.paste("blue", (16, 0, 32, 16))
    save(wide, tmp_path / "a.png")
    (image,) = load_folder(tmp_path, (3, 8, 8)).images
    assert (image[2, :, 1:-1] > 0.98).all()
    assert (image[0, :, 1:-1] < -0.98).all()


def test_large_photo_is_turned_upright_and_decoded_small(tmp_path, monkeypatch):
    photo, exif = Image.new("RGB", (400, 300), "red"), Image.Exif()
    photo.paste("blue", (0, 0, 400, 150))  # above
    exif[0x0112] = 3  # orientation: turned by 180 degrees
    save(photo, tmp_path / "a.jpg", exif=exif)
    turn, sizes = ImageOps.exif_transpose, []
    spy = Mock(side_effect=lambda image: sizes.append(image.size) or turn(image))
    monkeypatch.setattr(ImageOps, "exif_transpose", spy)
    (image,) = load_folder(tmp_path, (3, 28, 12)).images
    assert sizes == [(100, 75)]  # a fourth, and still at least twice 28 by 28
    assert image[0, 4, 4] > 0.9 > -0.9 > image[0, -4, 4]


# --- classes


def test_subfolders_are_classes_in_natural_order(tmp_path, capsys):
    for name in ("10/1.png", "2/1.png", "2/deeper/1.png", "ants/1.png"):
        save(plain("red"), tmp_path / name)
    for name in ("__MACOSX/2/1.png", ".thumbs/1.png", "2/Thumbs.db", "2/.DS_Store"):
        save(plain("blue"), tmp_path / name, format="png")
    (tmp_path / "9").mkdir()
    assert load_folder(tmp_path, (3, *SIZE)).labels.tolist() == [0, 0, 2, 3]
    assert capsys.readouterr().out == (
        "The labels, and how many images have them: 0 2 (2), 1 9 (0), 2 10 (1), "
        "3 ants (1).\n"
    )


def test_images_beside_subfolders_are_mentioned(tmp_path, capsys):
    names = ["1", "2", "3 b", "3", "20", "100"]
    for name in names:
        save(plain(int(name.split()[0]), "L"), tmp_path / f"{name}.png")
    (tmp_path / "empty").mkdir()
    assert colors(tmp_path, channels=1) == [[1], [2], [3], [3], [20], [100]]
    assert capsys.readouterr() == ("", "")  # no bar for a few
    save(plain("red"), tmp_path / "cats" / "1.png")
    assert colors(tmp_path) == [[255, 0, 0]]
    beside = ", ".join(f"{name}.png (next to subfolders)" for name in names[:5])
    assert f"Left out: {beside} and 1 more.\n" in capsys.readouterr().out


# --- what cannot be read


def encoded(kind, **arguments):
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(stream, kind, **arguments)
    return stream.getvalue()


def test_unreadable_files_are_named_and_left_out(tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0  # orientation, resolution
    damaged = exif.tobytes().replace(b"\x01\x1a", b"\x01\x0a")  # another tag
    (tmp_path / "a.jpg").write_bytes(encoded("jpeg", exif=damaged))
    (tmp_path / "b.png").write_bytes(encoded("png")[:2000])
    (tmp_path / "c.txt").write_text("my images")
    (tmp_path / "d.ppm").write_text("P6 60000 60000 255\n")  # a bomb
    with pytest.raises(ValueError, match="there is no readable image in"):
        load_folder(tmp_path)
    save(plain("red"), tmp_path / "good.png")
    assert colors(tmp_path) == [[255, 0, 0]]
    expected = [f"{name} (unreadable)" for name in ("a.jpg", "b.png", "c.txt", "d.ppm")]
    assert capsys.readouterr().out == f"Left out: {', '.join(expected)}.\n" * 2


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError, KeyboardInterrupt])
def test_only_errors_of_the_decoder_are_passed_over(tmp_path, monkeypatch, kind):
    save(plain("red"), tmp_path / "a.png")
    monkeypatch.setattr(ImageOps, "exif_transpose", Mock(side_effect=kind))
    with pytest.raises(ValueError if kind is RuntimeError else kind):
        load_folder(tmp_path)


def test_wrong_shapes_and_paths_are_refused(tmp_path, monkeypatch):
    for shape in ((2, 8, 8), (8, 8), (1, 0, 8)):
        with pytest.raises(ValueError, match=r"image_shape is .*write image_shape="):
            load_folder(tmp_path, shape)
    save(plain("red"), tmp_path / "mine" / "a.png")
    for name, kind in (("no", FileNotFoundError), ("mine/a.png", NotADirectoryError)):
        with pytest.raises(kind, match=f"{name} is not a folder, expected"):
            load_folder(tmp_path / name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_folder("~/mine").name == "mine"
