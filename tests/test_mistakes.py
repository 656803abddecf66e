"""Learners' mistakes: every argument of every public function, wrong in every way.

``CALLS`` lists the functions with good arguments and the kind of each; a kind lists
what learners pass instead. Whatever is wrong, the answer is one sentence of three
parts: what came, what was expected, and a call that mends it. Where that call can be
computed, it is, and the function must then be content.
"""

import inspect
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib import (
    checkpoint,
    data,
    evaluation,
    exercises,
    judge,
    latent,
    losses,
    models,
    parzen,
    plots,
    results,
    training,
    updates,
    widgets,
)

SHAPE, LATENT_DIM = (1, 28, 28), 5
DIGITS = data.load_images("digits")
IMAGES, LABELS = DIGITS.images[:70], DIGITS.labels[:70]  # more than 64 features
UNSEEN = data.load_images("digits", "test").images[:70]
G = models.Generator(LATENT_DIM, SHAPE).eval()
D = models.Discriminator(SHAPE)
JUDGE = judge.Judge().requires_grad_(False).eval()
Z = torch.randn(4, LATENT_DIM, generator=torch.Generator().manual_seed(0))
LOGITS = Z[:, 0].contiguous()
CONFIG = training.TrainConfig(steps=1, batch_size=2)
RECORD = training.Record(1, 2, 0.1, 0.7, 0.7, 0.5, 0.5, 0.5, G)
SOME_POINTS = data.sample_points(data.RING, 4, seed=0)
POINT_D = models.PointDiscriminator(width=4, depth=1)
SOME_FEATURES = torch.rand(9, 6, generator=torch.Generator().manual_seed(0))
PLANT = torch.nn.Linear(3, 4)  # a network of another kind


# --- what learners pass instead: a name, the wrong value, the error, words from it

FLAT = {
    "flattened": (lambda x: x.flatten(1), ValueError, r"view\(-1, 1, 28, 28\)"),
    "no channel": (lambda x: x[:, 0], ValueError, r"images?.*unsqueeze\(1\)|unsqueeze"),
    "one image": (lambda x: x[0], ValueError, r"\(1, 28, 28\).*unsqueeze"),
    "one batch too many": (lambda x: x[None], ValueError, r"\(N, C, H, W\)"),
    "noise": (lambda x: Z, ValueError, r"looks like noise, try G\("),
    "nobody": (lambda x: x[:0], ValueError, "at all.*sizes of 1 or more"),
    "bytes": (lambda x: (127.5 * (x + 1)).byte(), TypeError, r"uint8.*/ 127.5 - 1"),
    "float64": (lambda x: x.double(), TypeError, r"float64, expected float32.*float"),
    "whole numbers": (lambda x: x.long(), TypeError, r"int64.*/ 127.5 - 1"),
    "complex": (lambda x: x.to(torch.complex64), TypeError, r"complex64.*\.real"),
    "NumPy": (lambda x: x.detach().numpy(), TypeError, r"ndarray.*torch.as_tensor"),
    "list": (lambda x: list(x), TypeError, r"list.*torch.stack"),
    "batches": (lambda x: list(x.split(8)), TypeError, r"list.*torch.cat"),
    "with labels": (lambda x: DIGITS, TypeError, r"LabeledImages.*take .*\.images"),
    "none": (lambda x: None, TypeError, "NoneType, expected a torch tensor"),
}
SIZED = FLAT | {
    "color": (lambda x: x.repeat(1, 3, 1, 1), ValueError, "3 channels.*mean|3 chan"),
    "channels last": (lambda x: x.movedim(1, 3), ValueError, "permute|28 channels"),
    "small": (lambda x: x[..., :20, :20].contiguous(), ValueError, "20×20.*interpol"),
    "elsewhere": (lambda x: x.to("meta"), ValueError, r'meta, expected cpu.*to\("cpu"'),
}
IN_RANGE = {
    "from 0 to 1": (lambda x: (x + 1) / 2, ValueError, r"looks like \[0, 1\].* \* 2"),
    "from 0 to 255": (lambda x: 127.5 * (x + 1), ValueError, r"0 to 255.*/ 127.5 - 1"),
    "mean 0, spread 1": (lambda x: ((x + 1) / 2 - 0.13) / 0.31, ValueError, "2.81"),
    "a little outside": (lambda x: 1.05 * x, ValueError, r"1.05, expected \[-1, 1\]"),
    "not a number": (lambda x: x * torch.nan, ValueError, "NaN or infinite values"),
    "unbounded": (lambda x: x / 0, ValueError, "NaN or infinite values"),
}
POINTS = {
    "one point": (lambda x: x[0], ValueError, r"\(2,\), expected \(N, 2\).*unsqueeze"),
    "images": (lambda x: IMAGES, ValueError, r"expected \(N, 2\).*Discriminator\(\)"),
    "in space": (
        lambda x: x.repeat(1, 2)[:, :3],
        ValueError,
        r"3\), expected \(N, 2\)",
    ),
    "nobody": (lambda x: x[:0], ValueError, r"\(0, 2\), expected .* N of 1 or more"),
    "whole numbers": (lambda x: x.long(), TypeError, r"int64.*\.float\(\)"),
    "float64": (lambda x: x.double(), TypeError, r"float64.*\.float\(\)"),
    "NumPy": (lambda x: x.detach().numpy(), TypeError, r"ndarray.*torch.as_tensor"),
    "none": (lambda x: None, TypeError, r"NoneType, expected .*sample_points\(GRID"),
}
NO_NUMBERS = {
    "not a number": (lambda x: x * torch.nan, ValueError, "hold NaN or infinity, exp"),
}
MODES = {
    "points": (lambda m: SOME_POINTS, TypeError, "Tensor, expected .*RING or GRID"),
    "word": (lambda m: "ring", TypeError, "str, expected centers.*RING or GRID"),
    "none": (lambda m: None, TypeError, "NoneType, expected .*pass RING or GRID"),
}
FEWER_PAIRS = {
    "fewer": (lambda x: x[:3], ValueError, r"there are .* expected as many.*\[:3\]"),
}
A_FUNCTION = {
    "called": (lambda f: None, TypeError, "NoneType, expected a function: pass the fu"),
    "name": (lambda f: "r1_update", TypeError, "str, expected a function.*quotes"),
}
NOISE = {
    "one vector": (lambda z: z[0], ValueError, r"\(5,\), expected \(N, 5\).*unsqueeze"),
    "another size": (lambda z: z[:, :4], ValueError, r"\(4, 4\), expected \(N, 5\)"),
    "for convolutions": (lambda z: z[..., None, None], ValueError, r"\(4, 5, 1, 1\)"),
    "images": (lambda z: IMAGES, ValueError, r"looks like images.*D\(images\)"),
    "nobody": (lambda z: z[:0], ValueError, r"\(0, 5\), expected .* N of 1 or more"),
    "whole numbers": (lambda z: z.long(), TypeError, r"int64.*z.float\(\)"),
    "float64": (lambda z: z.double(), TypeError, r"float64.*z.float\(\)"),
    "NumPy": (lambda z: z.numpy(), TypeError, r"ndarray.*torch.as_tensor\(z\)"),
    "seed": (lambda z: 0, TypeError, "int, expected a torch tensor.*torch.randn"),
    "none": (lambda z: None, TypeError, "NoneType, expected a torch tensor"),
}
VECTOR = {
    "a column": (lambda v: v[:, None], ValueError, r"1\), expected \(N,\).*flatten"),
    "images": (lambda v: IMAGES, ValueError, r"expected \(N,\)"),
    "nobody": (lambda v: v[:0], ValueError, r"\(0,\), expected \(N,\) with N of 1"),
    "one number": (lambda v: v[0], ValueError, r"\(\), expected \(N,\)"),
    "whole numbers": (lambda v: v.long(), TypeError, r"int64.*float\(\)"),
    "float64": (lambda v: v.double(), TypeError, r"float64.*float"),
    "list": (lambda v: v.tolist(), TypeError, r"list.*torch.as_tensor"),
    "none": (lambda v: None, TypeError, "NoneType, expected a torch tensor"),
}
OTHER_LENGTH = {"other": (lambda v: v[:3], ValueError, "3 numbers, expected 4")}
POINTING = {"nowhere": (lambda v: v * 0, ValueError, "length 0, expected one that")}
COUNT = {
    "nothing": (
        lambda n: 0,
        ValueError,
        r"is 0, expected a whole number of \d or more",
    ),
    "negative": (lambda n: -3, ValueError, r"is -3, expected a whole number of \d or"),
    "broken": (lambda n: 2.5, TypeError, "is 2.5, expected a whole number"),
    "word": (lambda n: "16", TypeError, "is '16', expected a whole number"),
    "yes": (lambda n: True, TypeError, "is True, expected a whole number"),
    "tensor": (lambda n: torch.tensor(4), TypeError, "is Tensor, expected a whole"),
}
NONE = {"none": (lambda n: None, TypeError, "is NoneType, expected a whole number")}
SEED = {
    "negative": (lambda n: -1, ValueError, "seed is -1, expected .* of 0 or more"),
    "broken": (lambda n: 0.5, TypeError, "seed is 0.5, expected a whole number"),
}
RATE = {
    "zero": (lambda n: 0.0, ValueError, "is 0.0, expected a number above 0"),
    "negative": (lambda n: -1.0, ValueError, "is -1.0, expected a number above 0"),
    "not a number": (lambda n: torch.nan, ValueError, "is nan, expected a number"),
    "infinite": (lambda n: torch.inf, ValueError, "is inf, expected a number"),
    "word": (lambda n: "1e-3", ValueError, "is '1e-3', expected a number"),
}
SIZES = {
    "two": (lambda s: (28, 28), ValueError, r"\(28, 28\), expected three sizes"),
    "one": (lambda s: 28, ValueError, "28, expected three sizes"),
    "nothing": (
        lambda s: (1, 0, 28),
        ValueError,
        r"\(1, 0, 28\), expected three sizes",
    ),
    "negative": (lambda s: (1, -1, 8), ValueError, r"\(1, -1, 8\), expected three"),
    "images": (lambda s: IMAGES, ValueError, "image_shape is .*expected three sizes"),
}
GENERATOR = {
    "discriminator": (lambda g: D, TypeError, "Discriminator, expected a generator"),
    "judge": (lambda g: JUDGE, TypeError, "Judge, expected a generator"),
    "layer": (lambda g: PLANT, TypeError, r"Linear, expected .*pass Generator\(\)"),
    "class": (lambda g: models.Generator, TypeError, "type, expected a generator"),
    "weights": (lambda g: g.state_dict(), TypeError, "OrderedDict, expected a gen"),
    "none": (lambda g: None, TypeError, "NoneType, expected a generator"),
}
DISCRIMINATOR = {
    "generator": (lambda d: G, TypeError, "Generator, expected a discriminator"),
    "layer": (lambda d: PLANT, TypeError, r"Linear, .*pass Discriminator\(\)"),
    "none": (lambda d: None, TypeError, "NoneType, expected a discriminator"),
}
OF_ANOTHER_SIZE = {
    "of another size": (
        lambda network: type(network)(image_shape=(1, 20, 20)),
        ValueError,
        r"28×28.*built for .*20×20.*image_shape=\(1, 28, 28\)",
    ),
}
ELSEWHERE = {
    "elsewhere": (
        lambda network: type(network)(image_shape=SHAPE).to("meta"),
        ValueError,
        r"meta.*cpu|cpu.*meta",
    ),
}
A_JUDGE = {
    "generator": (lambda j: G, TypeError, "Generator, expected a judge"),
    "discriminator": (lambda j: D, TypeError, "Discriminator, expected a judge"),
    "none": (lambda j: None, TypeError, r"NoneType, .*pass train_judge\(images, lab"),
}
A_CONFIG = {
    "dictionary": (lambda c: {"steps": 9}, TypeError, "dict, expected a TrainConfig"),
    "class": (lambda c: training.TrainConfig, TypeError, "type, expected a TrainConf"),
    "none": (lambda c: None, TypeError, "NoneType, expected a TrainConfig"),
}
SAFE_PATH = {
    "torch's ending": (lambda p: "G.pt", ValueError, r'G\.pt.* write "G\.safetensors"'),
    "no ending": (lambda p: "G", ValueError, r'ends in \.safetensors: write "G\.safe'),
    "number": (lambda p: 3, ValueError, r"ends in \.safetensors"),
    "none": (lambda p: None, ValueError, r"ends in \.safetensors"),
}
GIF_PATH = {
    "film": (lambda p: "walk.mp4", ValueError, r'walk\.mp4.* write "walk\.gif"'),
    "none": (lambda p: None, ValueError, r"ends in \.gif"),
}
AXES = {
    "several": (lambda a: np.array([a, a]), TypeError, "ndarray, expected one Axes"),
    "figure": (lambda a: plt.figure(), TypeError, r"Figure, expected .*plt.gca\(\)"),
}
RECORDS = {
    "one": (lambda r: RECORD, TypeError, r"Record, expected a list.*list\(train\("),
    "a loop": (lambda r: iter([RECORD]), TypeError, "list_iterator, expected a list"),
    "numbers": (lambda r: [0.7, 0.6], TypeError, "list, expected a list of records"),
}
FRAMES = {
    "nothing": (lambda f: [], ValueError, "no frames in this list"),
    "images": (lambda f: IMAGES, ValueError, r"Tensor.*frames.split\(1\)"),
    "running": (lambda f: iter(f), ValueError, r"list_iterator.*list\(frames\)"),
    "sizes": (lambda f: [IMAGES[:4], IMAGES[:9]], ValueError, "several sizes"),
    "numbers": (lambda f: [1, 2], TypeError, "int, expected a torch tensor"),
}
A_LAYER = {
    "weights": (lambda m: m.weight, TypeError, r"Parameter, .*G.apply\(init_ortho"),
    "none": (lambda m: None, TypeError, "NoneType, expected a layer"),
}
A_GENERATOR = {
    "seed": (lambda g: 7, TypeError, r"int, .*torch.Generator\(\).manual_seed\(7\)"),
    "none": (lambda g: None, TypeError, r"NoneType, expected a torch.Generator"),
}
A_LABEL = {
    "too few": (lambda x: x[:9], ValueError, r"\(9,\) on cpu, expected \(70,\)"),
    "floats": (lambda x: x.float(), TypeError, "float32, expected an int64 tensor"),
    "list": (lambda x: x.tolist(), TypeError, "list, expected an int64 tensor"),
    "from 1": (lambda x: x + 1, ValueError, "from 1 to 10, expected .*labels - lab"),
    "one-hot": (lambda x: torch.eye(10)[x].long(), ValueError, r"\(70, 10\)"),
}
FEW = {"too few": (lambda x: x[:64], ValueError, "64 .*, too few.* at least 1,000")}
WITHOUT_GRAPH = {
    "detached": (lambda x: x.detach(), ValueError, "without its graph.*outside of"),
}
FEW_TO_COMPARE = {
    "too few": (lambda x: x[:1], ValueError, "1 .*, too few for pairs.* least 1,000"),
}
# Sets that are only compared with each other: of any size, but of one.
BESIDE = {
    "of another size": (
        lambda x: x[..., :20, :20].contiguous(),
        ValueError,
        r"\(N, 1, 20, 20\).*expected \(N, 1, 28, 28\).*interpolate\(",
    ),
    "in color": (
        lambda x: x.repeat(1, 3, 1, 1),
        ValueError,
        r"\(N, 3, 28, 28\).*expected \(N, 1, 28, 28\)",
    ),
    "elsewhere": (
        lambda x: x.to("meta"),
        ValueError,
        r"on meta, expected .* on cpu, as \w+: .*\.to\(",
    ),
}
FEATURES = {
    "images": (lambda f: IMAGES, ValueError, r"expected \(N, d\).*judge_features\("),
    "one": (lambda f: f[0], ValueError, r"\(6,\), expected \(N, d\)"),
    "nobody": (lambda f: f[:0], ValueError, r"\(0, 6\), expected \(N, d\) with N and"),
    "not a number": (lambda f: f * torch.nan, ValueError, "hold NaN or infinity, exp"),
    "unbounded": (lambda f: f / 0, ValueError, "hold NaN or infinity, expected numb"),
    "float64": (lambda f: f.double(), TypeError, r"float64, expected float32: .*float"),
    "whole numbers": (lambda f: f.long(), TypeError, "int64, expected float32"),
    "NumPy": (lambda f: f.numpy(), TypeError, r"ndarray.*torch.as_tensor"),
    "none": (lambda f: None, TypeError, r"NoneType, expected .*judge_features\(judge"),
}
OTHER_FEATURES = {
    "another size": (
        lambda f: f[:, :5],
        ValueError,
        r"\(N, 5\) .*expected \(N, 6\) .*same judge",
    ),
    "elsewhere": (lambda f: f.to("meta"), ValueError, "meta, expected .* on cpu"),
}
FEW_FEATURES = {
    "too few": (lambda f: f[:3], ValueError, "3 .*features, too few for 3 neigh"),
}
SHARES = {
    "counts": (lambda s: s * 20, ValueError, r"sum to 20, expected 1.*shares\.sum\(\)"),
    "not a number": (lambda s: s * torch.nan, ValueError, "sum to nan, expected 1"),
    "below 0": (
        lambda s: s - torch.tensor([1.0, -1, 0, 0]),
        ValueError,
        "sum to 1, .* none below 0",
    ),
    "nobody": (lambda s: s[:0], ValueError, r"\(0,\), expected \(N,\)"),
    "list": (lambda s: s.tolist(), TypeError, "list.*torch.as_tensor"),
    "none": (lambda s: None, TypeError, r"NoneType.*class_balance\("),
}
A_SAVED_JUDGE = {
    "other layers": (
        lambda j: _other_judge(),
        TypeError,
        "Judge with other layers, exp",
    ),
    "diverged": (lambda j: _diverged_judge(), ValueError, "NaN or infinite weights"),
}
DRAWS_ANOTHER_SIZE = {
    "of another size": (
        lambda g: models.Generator(LATENT_DIM, (1, 20, 20)),
        ValueError,
        r"samples have .*20×20 pixels, .* built for .*28×28 .*interpolate\(samples",
    ),
}
WIDTHS = {
    "one number": (lambda s: 0.2, TypeError, r"float, expected a list.*sigmas=\[0\.2"),
    "nothing": (lambda s: [], TypeError, "list, expected a list of numbers above 0"),
    "also zero": (
        lambda s: [0.2, 0.0],
        ValueError,
        "sigma is 0.0, expected a number abov",
    ),
    "not a number": (lambda s: [torch.nan], ValueError, "sigma is nan, expected a nu"),
    "none": (lambda s: None, TypeError, "NoneType, expected a list of numbers"),
}
COPIES = {
    "of the training images": (
        lambda x: IMAGES,
        ValueError,
        r'copies of train, expected .*load_images\("mnist", "test"\)',
    ),
}
FEWER = {
    "fewer than test images": (
        lambda x: x[:69],
        ValueError,
        "69 training images, too few for a floor with 70 images: use at least 1,000",
    ),
}
NAME = {"unknown": (lambda n: "cifar", ValueError, r"'cifar', expected one of \"")}
A_TEST = {"answer": (lambda t: 3, TypeError, "int, expected a function of the answer")}

TOO_MANY = {"too many": (lambda n: 6, ValueError, "count is 6, expected at most 5")}
OTHER_NOISE = {
    "of other noise": (
        lambda g: models.Generator(7, SHAPE),
        ValueError,
        "G2 takes 7 numbers, expected 5, as G1: build it with latent_dim=5",
    )
}
NAMES_OF_TWO = {
    "one": (
        lambda n: "first",
        ValueError,
        r"'first', expected one for each .*names=\(",
    ),
    "three": (lambda n: ("a", "b", "c"), ValueError, "expected one for each gen"),
    "none": (lambda n: None, ValueError, "None, expected one for each generator"),
}
DIRECTIONS = {
    "one vector": (
        lambda d: d["up"],
        TypeError,
        "Tensor, expected a dictionary of vec",
    ),
    "list": (lambda d: [d["up"]], TypeError, "list, expected a dictionary of vectors"),
    "nothing": (lambda d: {}, TypeError, "dict, expected a dictionary of vectors"),
    "of another size": (
        lambda d: {"up": d["up"][:4]},
        ValueError,
        "4 numbers, exp.* 5",
    ),
    "taken": (lambda d: {"z[0]": d["up"]}, ValueError, r"'z\[0\]'.*name of its own"),
    "batch": (lambda d: {"up": Z}, ValueError, r"\(4, 5\), expected \(N,\)"),
}
HISTORY = {
    "nothing": (lambda h: [], TypeError, r"pairs .*: write \[\(record, sample_"),
    "records": (lambda h: [RECORD], TypeError, "list, expected a list of pairs"),
    "running": (lambda h: iter(h), TypeError, "list_iterator, expected a list of pa"),
    "growing": (
        lambda h: [*h, (RECORD, IMAGES[:9])],
        ValueError,
        r"\(9, 1, 28, 28\), expected \(4, 1, 28, 28\), as in the first pair",
    ),
    "noise": (lambda h: [(RECORD, Z)], ValueError, "looks like noise"),
}
FLIPPED = {
    "nothing": (lambda f: [], TypeError, "no frames in this list, expected a list"),
    "running": (lambda f: iter(f), TypeError, r"list_iterator, .*list\(frames\)"),
    "sizes": (
        lambda f: [f[0], f[1][:2]],
        ValueError,
        r"\(2, 1, 28, 28\), expected \(4",
    ),
    "numbers": (lambda f: [1, 2], TypeError, "int, expected a torch tensor"),
}
CAPTIONS = {
    "one name": (lambda c: "ab", ValueError, "'ab', expected 2 different names"),
    "too few": (lambda c: ["a"], ValueError, "expected 2 different names, one for"),
    "twice": (lambda c: ["a", "a"], ValueError, r"list\(map\(str, range\(2\)\)\)"),
}
FIGURE = {
    "axes": (
        lambda f: f.subplots(),
        TypeError,
        r"Axes, expected a Figure.*plt.gcf",
    ),
    "none": (lambda f: None, TypeError, "NoneType, expected a Figure"),
}
# For these, None has a meaning: leave it out.
DISCRIMINATOR_OR_NONE = {k: v for k, v in DISCRIMINATOR.items() if k != "none"}
JUDGE_OR_NONE = {k: v for k, v in A_JUDGE.items() if k != "none"}
REAL_IMAGES = {  # they are moved to the CPU, wherever they are
    k: v for k, v in (SIZED | IN_RANGE).items() if k not in ("none", "elsewhere")
}
OTHER_SIZE = {
    "of another size": (
        lambda d: models.Discriminator((1, 20, 20)),
        ValueError,
        "28×28 pixels.*built for 1 channel of 20×20",
    )
}

ON_A_BATCH = IN_RANGE | {
    "too few": (lambda x: x[:1], ValueError, "1 images, expected a batch of 2 or more")
}
CALLS = {
    "Generator": (
        models.Generator,
        {"latent_dim": (LATENT_DIM, COUNT | NONE), "image_shape": (SHAPE, SIZES)},
    ),
    "G(z)": (lambda z: G(z), {"z": (Z, NOISE)}),
    "Discriminator": (models.Discriminator, {"image_shape": (SHAPE, SIZES)}),
    "D(images)": (lambda images: D(images), {"images": (IMAGES, SIZED)}),
    "block": (
        models.block,
        {"in_features": (3, COUNT | NONE), "out_features": (4, COUNT | NONE)},
    ),
    "init_normal_": (models.init_normal_, {"module": (PLANT, A_LAYER)}),
    "init_xavier_": (models.init_xavier_, {"module": (PLANT, A_LAYER)}),
    "init_kaiming_": (models.init_kaiming_, {"module": (PLANT, A_LAYER)}),
    "init_orthogonal_": (models.init_orthogonal_, {"module": (PLANT, A_LAYER)}),
    "init_orthogonal_leaky_": (
        models.init_orthogonal_leaky_,
        {"module": (PLANT, A_LAYER)},
    ),
    "d_loss": (
        losses.d_loss,
        {"real_logits": (LOGITS, VECTOR), "fake_logits": (LOGITS, VECTOR)},
    ),
    "g_loss_saturating": (losses.g_loss_saturating, {"fake_logits": (LOGITS, VECTOR)}),
    "g_loss_non_saturating": (
        losses.g_loss_non_saturating,
        {"fake_logits": (LOGITS, VECTOR)},
    ),
    "d_loss_least_squares": (
        losses.d_loss_least_squares,
        {"real_logits": (LOGITS, VECTOR), "fake_logits": (LOGITS, VECTOR)},
    ),
    "d_loss_hinge": (
        losses.d_loss_hinge,
        {"real_logits": (LOGITS, VECTOR), "fake_logits": (LOGITS, VECTOR)},
    ),
    "d_loss_wasserstein": (
        losses.d_loss_wasserstein,
        {"real_logits": (LOGITS, VECTOR), "fake_logits": (LOGITS, VECTOR)},
    ),
    "d_loss_pairing": (
        losses.d_loss_pairing,
        {
            "real_logits": (LOGITS, VECTOR | FEWER_PAIRS),
            "fake_logits": (LOGITS, VECTOR | FEWER_PAIRS),
        },
    ),
    "g_loss_pairing": (
        losses.g_loss_pairing,
        {
            "real_logits": (LOGITS, VECTOR | FEWER_PAIRS),
            "fake_logits": (LOGITS, VECTOR | FEWER_PAIRS),
        },
    ),
    "g_loss_least_squares": (
        losses.g_loss_least_squares,
        {"fake_logits": (LOGITS, VECTOR)},
    ),
    "g_loss_wasserstein": (
        losses.g_loss_wasserstein,
        {"fake_logits": (LOGITS, VECTOR)},
    ),
    "input_gradient": (
        losses.input_gradient,
        {
            "D": (D, DISCRIMINATOR | OF_ANOTHER_SIZE | ELSEWHERE),
            "images": (IMAGES, SIZED),
        },
    ),
    "gradient_penalty": (
        losses.gradient_penalty,
        {
            "D": (D, DISCRIMINATOR | OF_ANOTHER_SIZE | ELSEWHERE),
            "real": (IMAGES[:9], SIZED | FEWER_PAIRS),
            "fake": (IMAGES[:9], SIZED | FEWER_PAIRS),
            "generator": (torch.Generator(), A_GENERATOR),
        },
    ),
    "r1_penalty": (
        losses.r1_penalty,
        {
            "D": (D, DISCRIMINATOR | OF_ANOTHER_SIZE | ELSEWHERE),
            "real": (IMAGES, SIZED),
        },
    ),
    "r2_penalty": (
        losses.r2_penalty,
        {
            "D": (D, DISCRIMINATOR | OF_ANOTHER_SIZE | ELSEWHERE),
            "fake": (IMAGES, SIZED),
        },
    ),
    "hidden_layers": (
        models.hidden_layers,
        {
            "in_features": (2, COUNT | NONE),
            "width": (4, COUNT | NONE),
            "depth": (1, COUNT | NONE),
        },
    ),
    "PointGenerator": (
        models.PointGenerator,
        {
            "latent_dim": (2, COUNT | NONE),
            "width": (4, COUNT | NONE),
            "depth": (1, COUNT | NONE),
        },
    ),
    "PointDiscriminator": (
        models.PointDiscriminator,
        {"width": (4, COUNT | NONE), "depth": (1, COUNT | NONE)},
    ),
    "D(points)": (lambda points: POINT_D(points), {"points": (SOME_POINTS, POINTS)}),
    "sample_points": (
        data.sample_points,
        {
            "modes": (data.RING, MODES),
            "count": (4, COUNT | NONE),
            "seed": (0, SEED),
        },
    ),
    "mode_coverage": (
        evaluation.mode_coverage,
        {"points": (SOME_POINTS, POINTS | NO_NUMBERS), "modes": (data.RING, MODES)},
    ),
    "show_points": (
        plots.show_points,
        {
            "points": (SOME_POINTS, POINTS),
            "modes": (data.RING, MODES),
            "ax": (None, AXES),
        },
    ),
    "TrainConfig": (
        training.TrainConfig,
        {
            "steps": (9, COUNT | NONE),
            "batch_size": (8, COUNT | NONE),
            "record_every": (9, COUNT | NONE),
            "lr_g": (1e-3, RATE),
            "lr_d": (1e-3, RATE),
            "seed": (0, SEED),
        },
    ),
    "d_step": (
        lambda D, real, fake: training.d_step(D, _adam(D), real, fake),
        {
            "D": (D, DISCRIMINATOR | OF_ANOTHER_SIZE | ELSEWHERE),
            "real": (IMAGES, SIZED),
            "fake": (IMAGES, SIZED),
        },
    ),
    "g_step": (
        lambda D, fake: training.g_step(D, _adam(G), fake),
        {
            "D": (D, DISCRIMINATOR | OF_ANOTHER_SIZE | ELSEWHERE),
            "fake": (IMAGES.clone().requires_grad_(), SIZED | WITHOUT_GRAPH),
        },
    ),
    "train": (
        lambda **arguments: list(training.train(**arguments)),
        {
            "G": (G, GENERATOR | OF_ANOTHER_SIZE | ELSEWHERE),
            "D": (D, DISCRIMINATOR | OF_ANOTHER_SIZE | ELSEWHERE),
            "images": (IMAGES, SIZED | ON_A_BATCH),
            "config": (CONFIG, A_CONFIG),
            "update": (training.classic_update, A_FUNCTION),
            "rate": (training.constant_rate, A_FUNCTION),
        },
    ),
    "wasserstein_update": (
        lambda **settings: _move(updates.wasserstein_update, **settings),
        {"generator": (torch.Generator(), A_GENERATOR), "weight": (10.0, RATE)},
    ),
    "r1_update": (
        lambda **settings: _move(updates.r1_update, **settings),
        {"gamma": (1.0, RATE), "last_gamma": (0.1, RATE)},
    ),
    "pairing_update": (
        lambda **settings: _move(updates.pairing_update, **settings),
        {"gamma": (1.0, RATE), "last_gamma": (0.1, RATE)},
    ),
    "new_networks": (
        checkpoint.new_networks,
        {"config": (CONFIG, A_CONFIG), "image_shape": (SHAPE, SIZES)},
    ),
    "networks_path": (
        checkpoint.networks_path,
        {"config": (CONFIG, A_CONFIG), "images": (IMAGES, FLAT)},
    ),
    "load_or_train": (
        checkpoint.load_or_train,
        {"config": (CONFIG, A_CONFIG), "images": (IMAGES, FLAT | ON_A_BATCH)},
    ),
    "save_networks": (
        checkpoint.save_networks,
        {
            "G": (G, GENERATOR),
            "D": (D, DISCRIMINATOR),
            "path": ("G.safetensors", SAFE_PATH),
        },
    ),
    "load_networks": (
        checkpoint.load_networks,
        {"path": ("x.safetensors", SAFE_PATH)},
    ),
    "judge(images)": (lambda images: JUDGE(images), {"images": (IMAGES, SIZED)}),
    "train_judge": (
        judge.train_judge,
        {
            "images": (IMAGES, FLAT | IN_RANGE),
            "labels": (LABELS, A_LABEL),
            "epochs": (1, COUNT | NONE),
            "seed": (0, SEED),
        },
    ),
    "judge_verdicts": (
        judge.judge_verdicts,
        {"judge": (JUDGE, A_JUDGE), "images": (IMAGES, SIZED | IN_RANGE)},
    ),
    "frechet_distance": (
        evaluation.frechet_distance,
        {
            "judge": (JUDGE, A_JUDGE),
            "real": (IMAGES, SIZED | IN_RANGE | FEW),
            "fake": (IMAGES, SIZED | IN_RANGE | FEW),
        },
    ),
    "judge_features": (
        judge.judge_features,
        {"judge": (JUDGE, A_JUDGE), "images": (IMAGES, SIZED | IN_RANGE)},
    ),
    "save_judge": (judge.save_judge, {"judge": (JUDGE, A_JUDGE | A_SAVED_JUDGE)}),
    "load_judge": (judge.load_judge, {"name": ("x.safetensors", SAFE_PATH)}),
    "load_or_train_judge": (
        judge.load_or_train_judge,
        {"images": (IMAGES, FLAT | IN_RANGE), "labels": (LABELS, A_LABEL)},
    ),
    "kernel_distance": (
        evaluation.kernel_distance,
        {
            "judge": (JUDGE, A_JUDGE),
            "real": (IMAGES, SIZED | IN_RANGE | FEW_TO_COMPARE),
            "fake": (IMAGES, SIZED | IN_RANGE | FEW_TO_COMPARE),
            "subsets": (2, COUNT | NONE),
            "seed": (0, SEED),
        },
    ),
    "precision_recall": (
        evaluation.precision_recall,
        {
            "real_features": (SOME_FEATURES, FEATURES | FEW_FEATURES),
            "fake_features": (SOME_FEATURES, FEATURES | OTHER_FEATURES | FEW_FEATURES),
            "k": (3, COUNT | NONE),
        },
    ),
    "neighbor_distance": (
        evaluation.neighbor_distance,
        {
            "features": (SOME_FEATURES, FEATURES | FEW_FEATURES),
            "k": (3, COUNT | NONE),
        },
    ),
    "entropy": (evaluation.entropy, {"shares": (torch.full((4,), 0.25), SHARES)}),
    "kl_to_uniform": (
        evaluation.kl_to_uniform,
        {"shares": (torch.full((4,), 0.25), SHARES)},
    ),
    "class_balance": (
        evaluation.class_balance,
        {"judge": (JUDGE, A_JUDGE), "images": (IMAGES, SIZED | IN_RANGE)},
    ),
    "nearest_distance": (
        evaluation.nearest_distance,
        {
            "images": (IMAGES, FLAT | IN_RANGE | BESIDE),
            "train": (IMAGES, FLAT | IN_RANGE),
        },
    ),
    "memorization": (
        evaluation.memorization,
        {
            "fake": (IMAGES, FLAT | IN_RANGE | BESIDE),
            "train": (IMAGES, FLAT | IN_RANGE),
            "held_out": (UNSEEN, FLAT | IN_RANGE | BESIDE | COPIES),
        },
    ),
    "evaluate": (
        evaluation.evaluate,
        {
            "G": (G, GENERATOR | DRAWS_ANOTHER_SIZE),
            "judge": (JUDGE, A_JUDGE),
            "train_images": (IMAGES, SIZED | IN_RANGE | FEWER),
            "test_images": (UNSEEN, SIZED | IN_RANGE | FEW),
            "seed": (0, SEED),
        },
    ),
    "evaluate_samples": (
        evaluation.evaluate_samples,
        {
            "samples": (IMAGES, SIZED | IN_RANGE | FEW),
            "judge": (JUDGE, A_JUDGE),
            "train_images": (IMAGES, SIZED | IN_RANGE | FEWER),
            "test_images": (UNSEEN, SIZED | IN_RANGE | FEW),
        },
    ),
    "log_mean_exp": (parzen.log_mean_exp, {"exponents": (SOME_FEATURES, FEATURES)}),
    "parzen_log_density": (
        parzen.parzen_log_density,
        {
            "points": (SOME_FEATURES, FEATURES),
            "centers": (SOME_FEATURES, FEATURES | OTHER_FEATURES),
            "sigmas": ([0.2], WIDTHS),
        },
    ),
    "parzen_log_likelihood": (
        parzen.parzen_log_likelihood,
        {
            "samples": (IMAGES, FLAT | IN_RANGE),
            "validation": (UNSEEN, FLAT | IN_RANGE | BESIDE),
            "test": (UNSEEN, FLAT | IN_RANGE | BESIDE),
        },
    ),
    "sample_noise": (
        latent.sample_noise,
        {
            "count": (4, COUNT | NONE),
            "latent_dim": (5, COUNT | NONE),
            "seed": (0, SEED),
        },
    ),
    "sample_images": (
        latent.sample_images,
        {
            "G": (G, GENERATOR),
            "count": (4, COUNT | NONE),
            "seed": (0, SEED),
            "batch": (2, COUNT | NONE),
        },
    ),
    "draw": (latent.draw, {"G": (G, GENERATOR), "z": (Z, NOISE)}),
    "lerp": (
        latent.lerp,
        {
            "start": (LOGITS, VECTOR),
            "end": (LOGITS + 1, VECTOR | OTHER_LENGTH),
            "t": (torch.linspace(0, 1, 3), VECTOR),
        },
    ),
    "slerp": (
        latent.slerp,
        {
            "start": (LOGITS, VECTOR | POINTING),
            "end": (LOGITS + 1, VECTOR | OTHER_LENGTH | POINTING),
            "t": (torch.linspace(0, 1, 3), VECTOR),
        },
    ),
    "tile_images": (
        plots.tile_images,
        {"images": (IMAGES, FLAT), "columns": (7, COUNT)},
    ),
    "show_images": (
        plots.show_images,
        {"images": (IMAGES, FLAT), "columns": (7, COUNT), "ax": (None, AXES)},
    ),
    "show_curves": (
        plots.show_curves,
        {"records": ([RECORD], RECORDS), "ax": (None, AXES)},
    ),
    "png_bytes": (
        plots.png_bytes,
        {
            "images": (IMAGES, FLAT),
            "columns": (7, COUNT),
            "zoom": (1, COUNT | NONE),
        },
    ),
    "save_animation": (
        plots.save_animation,
        {
            "frames": ([IMAGES[:4], IMAGES[4:8]], FRAMES),
            "path": ("walk.gif", GIF_PATH),
            "columns": (2, COUNT),
            "seconds": (1.0, RATE),
            "zoom": (1, COUNT | NONE),
        },
    ),
    "principal_directions": (
        latent.principal_directions,
        {
            "G": (G, GENERATOR),
            "count": (2, COUNT | NONE | TOO_MANY),
            "samples": (9, COUNT | NONE),
            "seed": (0, SEED),
        },
    ),
    "last_hidden": (latent.last_hidden, {"G": (G, GENERATOR), "z": (Z, NOISE)}),
    "find_noise": (
        latent.find_noise,
        {
            "G": (G, GENERATOR),
            "images": (IMAGES[:2], SIZED | IN_RANGE),
            "steps": (1, COUNT | NONE),
            "seed": (0, SEED),
        },
    ),
    "explore_latent": (
        widgets.explore_latent,
        {
            "G": (G, GENERATOR),
            "D": (D, DISCRIMINATOR_OR_NONE | OTHER_SIZE),
            "judge": (JUDGE, JUDGE_OR_NONE),
            "images": (IMAGES, REAL_IMAGES),
            "directions": ({"up": Z[0]}, DIRECTIONS),
            "zoom": (2, COUNT | NONE),
        },
    ),
    "compare": (
        widgets.compare,
        {
            "G1": (G, GENERATOR),
            "G2": (G, GENERATOR | OTHER_NOISE),
            "names": (("a", "b"), NAMES_OF_TWO),
            "zoom": (2, COUNT | NONE),
        },
    ),
    "scrub": (
        widgets.scrub,
        {"history": ([(RECORD, IMAGES[:4])], HISTORY), "zoom": (2, COUNT | NONE)},
    ),
    "flip": (
        widgets.flip,
        {
            "frames": ([IMAGES[:4], IMAGES[4:8]], FLIPPED),
            "captions": (["a", "b"], CAPTIONS),
            "zoom": (2, COUNT | NONE),
        },
    ),
    "figure_image": (plots.figure_image, {"figure": (plt.Figure(), FIGURE)}),
    "load_images": (
        data.load_images,
        {"name": ("digits", NAME), "split": ("test", NAME), "fallback": (None, NAME)},
    ),
    "load_folder": (
        data.load_folder,
        {"path": (".", {}), "image_shape": (SHAPE, SIZES)},
    ),
    "batch_indices": (
        lambda **arguments: list(data.batch_indices(**arguments)),
        {
            "count": (9, COUNT | NONE),
            "batch_size": (2, COUNT | NONE),
            "generator": (torch.Generator(), A_GENERATOR),
        },
    ),
    "check": (
        exercises.check,
        {"answer": (1, {}), "test": (lambda answer: answer == 1, A_TEST)},
    ),
}

# The arguments of public functions that have no row above, and why.
NO_WRONG_VALUE = "every value has a meaning"
OWN_TEST = "tested beside the function itself"
LEFT_OUT = {
    ("block", "normalize"): NO_WRONG_VALUE,
    ("batch_indices", "drop_last"): NO_WRONG_VALUE,
    ("show_images", "title"): NO_WRONG_VALUE,
    ("show_points", "title"): NO_WRONG_VALUE,
    ("load_images", "offline"): NO_WRONG_VALUE,
    ("load_images", "root"): OWN_TEST,
    ("load_folder", "path"): OWN_TEST,
    ("read_results", "name"): OWN_TEST,
    ("save_judge", "folder"): OWN_TEST,
    ("read_results", "folder"): OWN_TEST,
    ("TrainConfig", "betas"): OWN_TEST,
    ("TrainConfig", "ema_share"): OWN_TEST,
    ("check", "answer"): NO_WRONG_VALUE,
    ("check_config", "config"): "the check itself",
    ("check_widths", "sigmas"): "the check itself",
    **{
        (step, "loss_function"): "a formula of the learner's"
        for step in ("d_step", "g_step")
    },
    **{
        (name, argument): "given by train"
        for name, update in (vars(updates) | vars(training)).items()
        if name.endswith(("_update", "_rate", "_at"))
        for argument, known in inspect.signature(update).parameters.items()
        if known.kind is known.POSITIONAL_OR_KEYWORD
    },
    ("d_step", "opt_d"): "torch's own optimizers",
    ("g_step", "opt_g"): "torch's own optimizers",
}


def _other_judge():
    other = judge.Judge()
    other.body.append(torch.nn.Linear(64, 64))
    return other


def _diverged_judge():
    diverged = judge.Judge().requires_grad_(False)
    diverged.head.bias.fill_(torch.nan)
    return diverged


def _move(update, **settings):
    fake = models.PointGenerator(width=4, depth=1)(Z[:, :2])
    return update(POINT_D, _adam(D), _adam(G), SOME_POINTS, fake, 0.0, **settings)


def _adam(network):
    return (
        torch.optim.Adam(network.parameters()) if network is D or network is G else None
    )


MISTAKES = [
    pytest.param(call, argument, *mistake, id=f"{call}-{argument}-{name}")
    for call, (_, arguments) in CALLS.items()
    for argument, (_, mistakes) in arguments.items()
    for name, mistake in mistakes.items()
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Files that a test writes go into an empty folder, and figures are closed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANLIB_CACHE", str(tmp_path / "cache"))
    yield
    plt.close("all")


@pytest.fixture(autouse=True)
def same_networks():
    """Networks that a good call trains are as before when the next test begins."""
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in (G, D)]
    yield
    for network, state in zip((G, D), before, strict=True):
        network.load_state_dict(state)
        network.train(network is D)


def good(call):
    """The call and its good arguments, those left out that have a default."""
    function, arguments = CALLS[call]
    values = {name: value for name, (value, _) in arguments.items()}
    return function, {k: v for k, v in values.items() if v is not None}


@pytest.mark.parametrize(
    "call",
    [c for c in CALLS if c not in ("load_folder", "load_networks", "load_judge")],
)
def test_good_arguments_are_welcome(call):
    function, arguments = good(call)
    function(**arguments)


@pytest.mark.parametrize(("call", "argument", "spoil", "error", "words"), MISTAKES)
def test_mistake_ends_in_one_sentence(call, argument, spoil, error, words):
    function, arguments = good(call)
    wrong_value = spoil(
        arguments.get(argument, plt.gca() if argument == "ax" else None)
    )
    with pytest.raises(error, match=words) as caught:
        function(**{**arguments, argument: wrong_value})
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert re.search(
        r", expected .+: .+|: (use|build|make|resize|move|write|look) ", sentence
    )
    assert len(sentence) < 300
    inside = caught.traceback[-1].path
    assert "ganlib" in str(inside), f"{inside} raised it, not ganlib"


ADVICE = re.compile(r": .*(?:write|try|pass|with) (.+?)(?:, for example)?\.$")
NAMES = {
    name: value
    for module in (data, models, latent, training, evaluation, judge)
    for name, value in vars(module).items()
} | {
    "torch": torch,
    "plt": plt,
    "n": 4,
    "G": G,
    "D": D,
    "images": IMAGES,
    "labels": LABELS,
    "config": CONFIG,
}


def follow(sentence, call, wrong_value):
    """Return what the sentence recommends, or None where it is no code."""
    found = ADVICE.search(sentence)
    code = found and found[1].removeprefix("frames = ")
    if code and (setting := re.match(r"\w+=(.+)", code)):
        code = setting[1]  # of an argument, as in columns=1
    arguments = good(call)[1]
    try:
        tree = code and compile(code, "advice", "eval")
    except SyntaxError:
        return None
    return tree and eval(tree, {**NAMES, **arguments, **wrong_value})


MENDABLE = {  # mistakes where what came only has to be changed
    *("flattened", "no channel", "one image", "one batch too many", "bytes", "float64"),
    *("complex", "NumPy", "list", "batches", "color", "channels last"),
    *("small", "from 0 to 1", "from 0 to 255", "mean 0, spread 1", "a little outside"),
    *("one vector", "a column", "seed", "nothing", "negative", "broken", "word"),
    *("torch's ending", "no ending", "film", "from 1", "zero", "infinite", "running"),
}
NOT_MENDED_BY_ONE_CALL = {  # for example, then there are too few images
    **dict.fromkeys(
        ["train", "load_or_train", "train_judge", "load_or_train_judge"], ("one image",)
    ),
    "gradient_penalty": ("one image",),
    **dict.fromkeys(
        ["frechet_distance", "kernel_distance", "evaluate", "evaluate_samples"],
        ("one image",),
    ),
    "load_judge": ("torch's ending", "no ending"),  # there is no such file
    "load_networks": ("torch's ending", "no ending"),  # there is no such file
    "load_folder": ("nothing", "negative"),  # there are no pictures
    "g_step": ("bytes", "NumPy"),
    "flip": ("nothing",),  # then there are too many captions
}


def mendable():
    for mistake in MISTAKES:
        call, _, name = mistake.id.split("-", 2)
        left = NOT_MENDED_BY_ONE_CALL.get(call, ())
        if name in MENDABLE and name not in left:
            yield mistake


@pytest.mark.parametrize(
    ("call", "argument", "spoil", "error", "words"), list(mendable())
)
def test_advice_works(call, argument, spoil, error, words):
    """What the sentence recommends is computed and passed instead: no complaint."""
    function, arguments = good(call)
    wrong = {argument: spoil(arguments.get(argument))}
    with pytest.raises(error) as caught:
        function(**{**arguments, **wrong})
    better = follow(str(caught.value), call, wrong)
    function(**{**arguments, argument: better})


# --- whatever comes

NUMBERS = [torch.float16, torch.float32, torch.float64, torch.uint8, torch.int64]
ANY_TENSOR = st.builds(
    lambda shape, dtype: torch.zeros(shape).to(dtype),
    st.lists(st.sampled_from([0, 1, 2, 5, 28]), max_size=5),
    st.sampled_from([*NUMBERS, torch.bool, torch.complex64]),
)
FED = {  # what one tensor is given to, and the shape that comes back
    "G(z)": (lambda x: G(x), lambda x: (len(x), *SHAPE)),
    "D(images)": (lambda x: D(x), lambda x: (len(x),)),
    "judge": (lambda x: JUDGE(x), lambda x: (len(x), 10)),
    "d_loss": (lambda x: losses.d_loss(x, x), lambda x: ()),
    "g_loss": (losses.g_loss_non_saturating, lambda x: ()),
    "lerp": (lambda x: latent.lerp(x, x, x), lambda x: (len(x), len(x))),
    "draw": (lambda x: latent.draw(G, x), lambda x: (len(x), *SHAPE)),
    "tile_images": (
        lambda x: plots.tile_images(x, columns=1),
        lambda x: (len(x) * (x.shape[2] + 1) - 1, x.shape[3]),
    ),
}


def outcome(function, *arguments):
    """Return what comes back, and None; or else None, and the sentence."""
    try:
        return function(*arguments), None
    except (TypeError, ValueError) as refusal:
        return None, str(refusal)


@pytest.mark.parametrize("call", FED)
@given(tensor=ANY_TENSOR)
def test_any_tensor_gives_the_right_shape_or_one_sentence(call, tensor):
    function, shape = FED[call]
    found, refusal = outcome(function, tensor)
    if refusal is None:
        assert found.shape == shape(tensor)
    else:
        assert re.fullmatch(r".+: .+\.", refusal)  # one line


@given(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.booleans()))
def test_any_count_gives_as_many_or_one_sentence(count):
    count = min(count, 1000) if isinstance(count, int) else count  # a test has no time
    found, refusal = outcome(lambda n: latent.sample_noise(n, 2, seed=0), count)
    if refusal is None:
        assert found.shape == (count, 2)
    else:
        assert "expected a whole number of 1 or more: write count=1." in refusal


# --- nothing was forgotten

COURSE = (
    data,
    models,
    losses,
    training,
    updates,
    checkpoint,
    judge,
    evaluation,
    parzen,
    latent,
    plots,
)


def public_functions():
    """Yield every function and class of the course that is called with arguments."""
    for module in (*COURSE, widgets, exercises, results):
        for name, thing in vars(module).items():
            own = getattr(thing, "__module__", None) == module.__name__
            if own and callable(thing) and not name.startswith("_"):
                yield name, thing


@pytest.mark.parametrize(("name", "function"), list(public_functions()))
def test_every_argument_has_its_mistakes(name, function):
    made = ("Judge", "LabeledImages", "MissingDataError", "Evaluation")
    if name in made or hasattr(function, "_fields"):
        return  # made by functions of ganlib, not by learners
    listed = CALLS.get(name, (None, {}))[1]
    for argument in inspect.signature(function).parameters:
        if (name, argument) not in LEFT_OUT:
            assert listed.get(argument, (None, {}))[1], f"{name}'s {argument}"
