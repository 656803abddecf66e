"""A learner's own pictures: every kind that Pillow writes, and what is no picture."""

import io
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from ganlib.checks import check_images, check_range
from ganlib.data import load_folder

GRAY, COLOR = (1, 8, 8), (3, 8, 8)


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def save(picture, path, **arguments):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **arguments)


def plain(color, mode="RGB", size=(8, 8)):
    return Image.new(mode, size, color)


def only(folder, image_shape=COLOR):
    """The one image (C, H, W) of a folder, with values from 0 to 255."""
    (image,) = load_folder(folder, image_shape).images
    return (image + 1) * 127.5


def colors(image):
    """The color in the middle of an image (C, H, W)."""
    return image[:, image.shape[1] // 2, image.shape[2] // 2].round().int().tolist()


# --- what comes out


def test_images_are_ready_for_a_training(folder):
    for i in range(3):
        save(plain((255 * (i == 0), 120, 255)), folder / f"{i}.png")
    images, labels, name, source = load_folder(folder, COLOR)
    check_images(images, COLOR)
    check_range(images)
    assert images.dtype == torch.float32
    assert (labels.dtype, labels.tolist()) == (torch.int64, [0, 0, 0])
    assert (name, source) == (folder.name, "folder")


def test_black_is_minus_one_and_white_is_one_exactly(folder):
    save(plain("black"), folder / "a.png")
    save(plain("white"), folder / "b.png")
    black, white = load_folder(folder, COLOR).images
    assert black.unique().tolist() == [-1]
    assert white.unique().tolist() == [1]


def test_picture_of_the_right_size_is_not_touched(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), "u1")
    save(Image.fromarray(pixels), folder / "a.png")
    expected = torch.tensor(pixels).permute(2, 0, 1)
    assert torch.equal(only(folder).round().byte(), expected)


def test_gray_is_the_brightness_that_the_eye_sees(folder):
    save(plain((255, 0, 0)), folder / "a.png")
    assert colors(only(folder, GRAY)) == [76]  # 0.299 · 255, ITU-R 601


def test_gray_pictures_may_be_asked_for_in_color(folder):
    save(plain(90, "L"), folder / "a.png")
    assert colors(only(folder)) == [90, 90, 90]


@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 40), st.integers(1, 40)),
)
def test_any_size_becomes_the_size_that_was_asked_for(
    tmp_path_factory, width, height, shape
):
    folder = tmp_path_factory.mktemp("sizes")
    save(plain((7, 7, 7), size=(width, height)), folder / "a.png")
    images = load_folder(folder, shape).images
    assert images.shape == (1, *shape)
    assert ((images + 1) * 127.5 - 7).abs().max() < 1e-3


def test_the_middle_is_cut_out_before_resizing(folder):
    wide = Image.new("RGB", (48, 16), "red")
    wide.paste("blue", (16, 0, 32, 16))
    save(wide, folder / "a.png")
    image = only(folder)
    assert (image[2] > 240).all()  # blue everywhere
    assert (image[0] < 15).all()  # at the edges, resizing looks at the neighbors
    assert (image[0, :, 1:-1] < 2).all()


def test_proportions_of_the_shape_decide_what_is_cut(folder):
    wide = Image.new("RGB", (48, 16), "red")
    wide.paste("blue", (16, 0, 32, 16))
    save(wide, folder / "a.png")
    image = only(folder, (3, 8, 24))  # three times as wide as high: nothing is cut
    assert colors(image[:, :, :4]) == [255, 0, 0]
    assert colors(image[:, :, 10:14]) == [0, 0, 255]


def test_pictures_taken_upside_down_are_turned(folder):
    picture = Image.new("RGB", (8, 8), "red")
    picture.paste("blue", (0, 0, 8, 4))  # above
    exif = Image.Exif()
    exif[0x0112] = 3  # orientation: turned by 180 degrees
    save(picture, folder / "a.png", exif=exif)
    image = only(folder)
    assert image[:, 0, 0].tolist() == pytest.approx([255, 0, 0])
    assert image[:, -1, 0].tolist() == pytest.approx([0, 0, 255])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_white(folder, mode):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    save(clear.convert(mode), folder / "a.tiff")
    assert colors(only(folder)) == [255, 255, 255]


def test_half_transparent_black_on_white_is_gray(folder):
    save(plain((0, 0, 0, 128), "RGBA"), folder / "a.png")
    assert colors(only(folder)) == [127, 127, 127]


def test_palette_with_a_transparent_color_is_read(folder):
    picture = plain("red").quantize(4)
    save(picture, folder / "a.gif", transparency=picture.getpixel((0, 0)))
    assert colors(only(folder)) == [255, 255, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.full((8, 8), 65535, "uint16"), 255),
        (np.full((8, 8), 32768, "uint16"), 128),
        (np.full((8, 8), 30000, "int32"), 117),
        (np.full((8, 8), 0.5, "float32"), 128),
        (np.full((8, 8), 255.0, "float32"), 255),
        (np.zeros((8, 8), "float32"), 0),
    ],
)
def test_deep_pictures_keep_their_shades(folder, values, expected):
    """Pillow's own conversion to 8 bits cuts everything above 255 off."""
    save(Image.fromarray(values), folder / "a.tiff")
    assert colors(only(folder, GRAY)) == [expected]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_color_mode_is_read(folder, mode):
    picture = plain("white") if mode != "LAB" else None
    save(
        picture.convert(mode) if picture else Image.new("LAB", (8, 8), (255, 128, 128)),
        folder / "a.tiff",
    )
    assert min(colors(only(folder))) > 250


FORMATS = [
    "bmp",
    "gif",
    "ico",
    "jpg",
    "pcx",
    "png",
    "ppm",
    "sgi",
    "tga",
    "tiff",
    "webp",
]


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_read(folder, ending):
    if ending == "webp" and not features.check("webp"):
        pytest.skip("this Pillow was built without WebP")
    save(plain((40, 130, 220), size=(32, 32)), folder / f"a.{ending}")
    assert colors(only(folder)) == pytest.approx([40, 130, 220], abs=6)


def test_first_picture_of_an_animation_counts(folder):
    frames = [plain("red"), plain("blue")]
    save(frames[0], folder / "a.gif", save_all=True, append_images=frames[1:])
    assert colors(only(folder)) == [255, 0, 0]


# --- classes


@pytest.fixture
def pets(folder):
    save(plain("red"), folder / "cats" / "1.png")
    save(plain("blue"), folder / "dogs" / "1.png")
    save(plain("blue"), folder / "dogs" / "2.png")
    return folder


def test_sub_folders_are_classes_in_the_order_of_their_names(pets, capsys):
    images, labels, *_ = load_folder(pets, COLOR)
    assert labels.tolist() == [0, 1, 1]
    assert (images[labels == 0][:, 0] == 1).all()
    assert (images[labels == 1][:, 2] == 1).all()
    assert capsys.readouterr().out == "The labels are: 0 cats, 1 dogs.\n"


def test_class_without_a_picture_keeps_its_number(pets, capsys):
    (pets / "ants").mkdir()
    assert load_folder(pets, COLOR).labels.tolist() == [1, 2, 2]
    assert "0 ants, 1 cats, 2 dogs" in capsys.readouterr().out


def test_pictures_beside_the_classes_do_not_count(pets):
    save(plain("green"), pets / "title.png")
    assert len(load_folder(pets, COLOR).images) == 3


def test_hidden_files_and_folders_are_passed_over(pets, capsys):
    save(plain("green"), pets / ".thumbnails" / "1.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (pets / "cats" / name).write_bytes(b"?")
    assert load_folder(pets, COLOR).labels.tolist() == [0, 1, 1]
    assert "Left out" not in capsys.readouterr().out


def test_order_of_the_files_is_that_of_their_names(folder):
    for name, value in (("b", 200), ("a", 100), ("c", 250)):
        save(plain(value, "L"), folder / f"{name}.png")
    images = load_folder(folder, GRAY).images
    assert ((images[:, 0, 0, 0] + 1) * 127.5).round().tolist() == [100, 200, 250]


# --- what is no picture


def png():
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(stream, "png")
    return stream.getvalue()


UNREADABLE = {
    "notes.txt": b"my pictures",
    "empty.png": b"",
    "half.png": png()[: len(png()) // 2],
    "named.jpg": b"%PDF-1.7 ...",
    "cut.gif": b"GIF89a\x08\x00",
    "bomb.ppm": b"P6 60000 60000 255\n",
}


def test_unreadable_files_are_named_in_one_sentence_and_left_out(folder, capsys):
    save(plain("red"), folder / "good.png")
    for name, content in UNREADABLE.items():
        (folder / name).write_bytes(content)
    assert len(load_folder(folder, COLOR).images) == 1
    said = capsys.readouterr().out
    assert said == (
        "Left out, since they could not be read as pictures: "
        "bomb.ppm, cut.gif, empty.png, half.png, named.jpg and 1 more.\n"
    )


@pytest.mark.parametrize(("name", "content"), UNREADABLE.items())
def test_folder_without_a_readable_picture_is_refused(folder, name, content, capsys):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"no readable picture in .*: pass a folder"):
        load_folder(folder, COLOR)
    assert name in capsys.readouterr().out


def test_empty_folder_is_refused(folder):
    with pytest.raises(ValueError, match="no readable picture in"):
        load_folder(folder)


def test_missing_folder_is_refused(folder):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere: pass"):
        load_folder(folder / "nowhere")


def test_file_in_place_of_a_folder_is_refused(folder):
    save(plain("red"), folder / "a.png")
    expected = f"is a file, expected a folder: pass {re.escape(str(folder))}"
    with pytest.raises(NotADirectoryError, match=expected):
        load_folder(folder / "a.png")


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((2, 8, 8), r"image_shape is \(2, 8, 8\), expected 1 \(gray\) or 3"),
        ((8, 8), r"image_shape is \(8, 8\), expected three sizes"),
        ((1, 0, 8), r"image_shape is \(1, 0, 8\), expected three sizes"),
        (28, "image_shape is 28, expected three sizes"),
    ],
)
def test_wrong_shapes_are_refused(folder, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_folder(folder, shape)


def test_tilde_is_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    save(plain("red"), folder / "mine" / "a.png")
    assert load_folder("~/mine", COLOR).name == "mine"


def test_generator_learns_from_a_folder(folder, tiny_networks):
    """The whole way: pictures on disk, tensors, a step of training."""
    from ganlib.training import TrainConfig, train

    for i in range(4):
        save(plain(60 * i, "L", (9, 7)), folder / f"{i}.png")
    images = load_folder(folder, (1, 4, 4)).images
    config = TrainConfig(steps=1, batch_size=2)
    assert [record.step for record in train(*tiny_networks(), images, config)] == [1]
