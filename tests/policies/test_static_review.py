"""Hostile texts have findings on the lines that matter, ordinary model code has none.

In a hostile text, `# HERE` marks each line that must have a finding; the word beside a
text must stand in that finding's reason.
"""

import ast
import importlib
import time
import tokenize
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import static_review
from policies.static_review import Finding, findings
from policies.usual_names import ALLOWED, ATTRIBUTES
from syft_code.plans import traveller

HOSTILE: dict[str, tuple[str, str]] = {
    # files
    "open": ("files", "def f(x):\n    return open('/etc/shadow').read()  # HERE"),
    "open in a default": ("files", "def f(x, y=open('/etc/shadow')):  # HERE\n    return y"),
    "open as a class attribute": ("`open`", "class C:\n    door = open  # HERE"),
    "open behind a parameter": (
        "second meaning",
        "def f(open):  # HERE\n    return 1\n\ndef g():\n    return open('/etc/shadow')",
    ),
    "open bound by walrus": ("second meaning", "def f(x):\n    return (open := x)  # HERE"),
    "open in a star argument": ("files", "def f(x):\n    return max(*open('a'))  # HERE"),
    "open in a keyword": ("files", "def f(x):\n    return sorted(x, key=open)  # HERE"),
    "open in an f-string": ("files", "def f(x):\n    return f'{open(x)}'  # HERE"),
    "open in a lambda": ("files", "f = lambda x: open(x)  # HERE"),
    "open in a comprehension": ("files", "def f(x):\n    return [open(p) for p in x]  # HERE"),
    "open in an annotation": ("files", "def f(x: open('a')):  # HERE\n    return x"),
    "open in a subscript": ("files", "def f(x):\n    return x[open(x)]  # HERE"),
    "pathlib": ("files", "from pathlib import Path  # HERE\nPath('a').write_text('b')  # HERE"),
    "shutil": ("files", "import shutil  # HERE"),
    "tempfile": ("files", "import tempfile as t  # HERE"),
    "mmap": ("files", "import mmap  # HERE"),
    "numpy fromfile": ("files", "import numpy as np\nx = np.fromfile('a')  # HERE"),
    "numpy genfromtxt": ("files", "import numpy as np\nx = np.genfromtxt('a')  # HERE"),
    "numpy loadtxt": ("files", "import numpy as np\nx = np.loadtxt('a')  # HERE"),
    "numpy memmap": ("files", "from numpy import memmap  # HERE"),
    "numpy load": ("files", "import numpy as np\nx = np.load('a', allow_pickle=True)  # HERE"),
    "numpy DataSource": ("files", "import numpy as np\nx = np.lib.npyio.DataSource()  # HERE"),
    "array to a file": ("files", "def f(x):\n    x.numpy().tofile('a')  # HERE"),
    "array dump": ("files", "def f(x):\n    x.numpy().dump('a')  # HERE"),
    "own tofile as an excuse": (
        "files",
        "class C:\n    def tofile(self):\n        return 1\n\ndef f(x):\n    x.tofile('a')  # HERE",
    ),
    # network
    "socket": ("network", "import socket  # HERE"),
    "urllib": ("network", "from urllib.request import urlopen  # HERE"),
    "http": ("network", "import http.client  # HERE"),
    "import in a function": ("network", "def f(x):\n    import requests  # HERE"),
    "torch.hub": ("network", "import torch\nx = torch.hub.load('a', 'b')  # HERE"),
    "import torch.hub": ("network", "import torch.hub  # HERE"),
    "torch rpc": ("network", "import torch\nx = torch.distributed.rpc.TCPStore()  # HERE"),
    # processes
    "os.system": ("programs", "import os  # HERE\nos.system('id')"),
    "subprocess": ("programs", "from subprocess import run as area  # HERE\narea(['id'])"),
    "multiprocessing": ("programs", "import multiprocessing  # HERE"),
    "torch.multiprocessing": ("programs", "import torch.multiprocessing as mp  # HERE"),
    "threading": ("programs", "import threading  # HERE"),
    "signal": ("programs", "import signal  # HERE"),
    # code
    "eval": ("builds", "def f(x):\n    return eval(x)  # HERE"),
    "exec": ("builds", "exec('import os')  # HERE"),
    "compile": ("builds", "c = compile('1', 'a', 'eval')  # HERE"),
    "pickle": ("builds", "import pickle  # HERE"),
    "pickle inside of torch": (
        "files",
        "import torch\nx = torch.serialization.pickle.loads(b'')  # HERE",
    ),
    "torch.load": ("files", "import torch\nx = torch.load('a')  # HERE"),
    "torch.save": ("files", "from torch import save  # HERE"),
    "torch.from_file": ("files", "import torch\nx = torch.from_file('a')  # HERE"),
    "importlib": ("builds", "import importlib  # HERE"),
    "__import__": ("inner workings", "x = __import__('os')  # HERE"),
    "torch.jit": ("builds", "import torch\nf = torch.jit.load('a')  # HERE"),
    "torch.export": ("builds", "import torch\nf = torch.export.load('a')  # HERE"),
    "model compile": ("builds", "def f(model):\n    model.compile()  # HERE"),
    "runpy": ("builds", "import runpy  # HERE"),
    "raw bytes": ("bytes", "x = b'\\x80\\x04'  # HERE"),
    "a long text": ("hidden", f"x = '{'A' * 501}'  # HERE"),
    # machine code
    "shared memory": ("raw memory", "def f(x):\n    return x.share_memory_()  # HERE"),
    "ctypes": ("machine", "import ctypes  # HERE"),
    "ctypes of an array": ("machine", "def f(x):\n    return x.numpy().ctypes  # HERE"),
    "cpp_extension": ("machine", "from torch.utils import cpp_extension  # HERE"),
    "load_library": ("machine", "import torch\ntorch.ops.load_library('a')  # HERE"),
    # inner workings
    "subclasses walk": ("climbs", "x = ().__class__.__base__.__subclasses__()  # HERE"),
    "function globals": ("climbs", "def f(x):\n    return f.__globals__  # HERE"),
    "dunder builtins": ("inner workings", "x = __builtins__  # HERE"),
    "builtins module": ("inner workings", "import builtins  # HERE"),
    "frames": ("inner workings", "import sys  # HERE"),
    "generator frame": (
        "inner workings",
        "def f(x):\n    return (i for i in x).gi_frame  # HERE",
    ),
    "traceback": (
        "inner workings",
        "def f(e):\n    return e.with_traceback(None).tb_frame  # HERE",
    ),
    "try": (
        "try",
        "def f(x):\n    try:  # HERE\n        return 1\n    except ValueError:\n        pass",
    ),
    "try star": (
        "try",
        "def f(x):\n    try:  # HERE\n        pass\n    except* ValueError:\n        pass",
    ),
    "yield": ("half run", "def f(x):\n    yield x  # HERE"),
    "yield from": ("half run", "def f(x):\n    yield from x  # HERE"),
    "async": ("async", "async def f(x):  # HERE\n    return x"),
    "await": ("rare", "async def f(x):\n    await x  # HERE"),
    "gc": ("inner workings", "import gc  # HERE"),
    "inspect": ("inner workings", "import inspect  # HERE"),
    "license printer": ("programs", "license._Printer__setup.os  # HERE"),
    "license printer's name": ("inner workings", "x = license  # HERE"),
    "format walk": ("template", "x = '{0._x}'.format(1)  # HERE"),
    "format_map": ("template", "def f(x):\n    return 'a'.format_map(x)  # HERE"),
    "dunder in a template": ("`__`", "x = '{0.__class__}'  # HERE"),
    "f-string attribute": ("climbs", "def f(x):\n    return f'{x.__class__}'  # HERE"),
    "f-string over lines": (
        "climbs",
        "def f(x):\n    return (\n        f'{x.__class__}'  # HERE\n    )",
    ),
    "getattr": ("inner workings", "def f(x):\n    return getattr(x, 'lo' + 'ad')  # HERE"),
    "getattr concat": ("`__`", "x = '__cl' + 'ass__'  # HERE"),
    "setattr": ("inner workings", "def f(x):\n    setattr(x, 'a', 1)  # HERE"),
    "globals": ("inner workings", "x = globals()['a']  # HERE"),
    "vars": ("inner workings", "def f(x):\n    return vars(x)  # HERE"),
    "type with three arguments": ("inner workings", "C = type('C', (), {})  # HERE"),
    "dunder method": (
        "inner workings",
        "class C:\n    def __reduce__(self):  # HERE\n        return 1",
    ),
    "dunder class attribute": ("inner workings", "class C:\n    __slots__ = ()  # HERE"),
    "dunder parameter": ("inner workings", "def f(__x__):  # HERE\n    return 1"),
    "init of something else": ("climbs", "def f(x):\n    x.__init__(1)  # HERE"),
    "private attribute": ("`._", "def f(x):\n    return x._backend  # HERE"),
    "private attribute of another": (
        "`._os`",
        "class C:\n    def a(self, x):\n        self._os = 1\n        return x._os  # HERE",
    ),
    # modules as values
    "torch builtins": ("`torch.builtins`", "import torch\nx = torch.builtins.open('a')  # HERE"),
    "alias": ("as a value", "import torch\nt = torch  # HERE\nt.builtins.open('a')  # HERE"),
    "alias of a submodule": ("as a value", "import torch\nt = torch.nn.functional  # HERE"),
    "self-attribute alias": (
        "as a value",
        "import torch\n\nclass C:\n    def a(self):\n        self.t = torch  # HERE",
    ),
    "walrus alias": ("as a value", "import torch\nx = (t := torch)  # HERE"),
    "module as an argument": ("as a value", "import torch\n\ndef f(x):\n    f(torch)  # HERE"),
    "module returned": ("as a value", "import torch\n\ndef f(x):\n    return torch  # HERE"),
    "module in a list": ("as a value", "import torch\nx = [m for m in [torch]]  # HERE"),
    "module in a loop": ("as a value", "import torch\nfor t in [torch]:  # HERE\n    pass"),
    "module as a default": ("as a value", "import torch\n\ndef f(x=torch):  # HERE\n    return x"),
    "module in a tuple assignment": ("as a value", "import torch\na, b = 1, torch  # HERE"),
    "module in a subscript": ("as a value", "import torch\nx = {0: torch}[0].hub  # HERE"),
    "module by star-args": ("as a value", "import torch\nx = max(*[torch])  # HERE"),
    "module in a class body": ("as a value", "import torch\n\nclass C:\n    t = torch  # HERE"),
    "module by match": (
        "as a value",
        "import torch\nmatch torch:  # HERE\n    case t:\n        pass",
    ),
    "match": (
        "takes values apart",
        "def f(x):\n    match x:  # HERE\n        case [y]:\n            pass",
    ),
    "module in conditional": ("as a value", "import torch\nx = (torch if 1 else 0).hub  # HERE"),
    "functional chain": (
        "`torch.nn.functional.torch`",
        "from torch import nn\nx = nn.functional.torch.package.io.open('a')  # HERE",
    ),
    "functional's importlib": (
        "builds",
        "import torch.nn.functional as F\nx = F.importlib.import_module('os')  # HERE",
    ),
    "chain over lines": ("files", "import torch\nx = (torch\n    .nn\n    .load('a'))  # HERE"),
    "collections._sys": ("`collections._sys`", "import collections\nx = collections._sys  # HERE"),
    "math re-export": ("`math.", "import math\nx = math.os  # HERE"),
    "class keeps a module": (
        "condition",
        "class C:\n    import torch  # HERE\n\nx = C.torch.load  # HERE",
    ),
    "conditional import": ("condition", "if 1:\n    import torch  # HERE"),
    "one name, two modules": (
        "second meaning",
        "import torch as t\n\ndef f(x):\n    import numpy as t  # HERE\n    return t.load('a')",
    ),
    "module's name bound again": (
        "second meaning",
        "import torch\n\ndef f(torch):  # HERE\n    return 1",
    ),
    "module's name as a loop target": (
        "second meaning",
        "import math\n\ndef f(x):\n    for math in x:  # HERE\n        pass",
    ),
    "module's name as a comprehension target": (
        "second meaning",
        "import math\n\ndef f(x):\n    return [1 for math in x]  # HERE",
    ),
    "module's name as a function": (
        "second meaning",
        "import math\n\ndef math():  # HERE\n    return 1",
    ),
    "module's name as a class": ("second meaning", "import math\n\nclass math:  # HERE\n    pass"),
    "builtin by import": ("second meaning", "from torch import relu as super  # HERE"),
    "star import": ("does not show", "from torch import *  # HERE"),
    "relative import": ("imports", "from . import door  # HERE"),
    "relative torch": ("imports", "from .torch import nn  # HERE"),
    "deleted module": ("second meaning", "import torch\ndel torch  # HERE"),
    "another door": ("imports", "from datasites.desk.entrypoint import vault  # HERE"),
    "datasites": ("imports", "from datasites import vault  # HERE"),
    # changing what is installed
    "patched module": ("replaced", "import torch\ntorch.Tensor.add = 1  # HERE"),
    "patched function": ("replaced", "import torch.nn.functional as F\nF.relu = 1  # HERE"),
    "patched class": ("replaced", "from torch.nn import Linear\nLinear.grad = 1  # HERE"),
    "patched value": ("replaced", "def f(optimizer):\n    optimizer.step = f  # HERE"),
    "deleted attribute": ("replaced", "def f(x):\n    del x.shape  # HERE"),
    "looped attribute": ("replaced", "def f(x):\n    for x.shape in [1]:  # HERE\n        pass"),
    "seed": ("randomness", "import torch\ntorch.manual_seed(0)  # HERE"),
    "global": ("outside", "def f(x):\n    global y  # HERE\n    y = x"),
    "nonlocal": (
        "outside",
        "def f(x):\n    def g():\n        nonlocal x  # HERE\n        x = 1\n    return g",
    ),
    "decorator": ("decorator", "def g(x):\n    return x\n\n@g  # HERE\ndef f(x):\n    return x"),
    "class decorator": ("decorator", "def g(x):\n    return x\n\n@g  # HERE\nclass C:\n    pass"),
    "own property": ("second meaning", "def property(x):  # HERE\n    return x"),
    "metaclass": ("metaclass", "class M:\n    pass\n\nclass C(metaclass=M):  # HERE\n    pass"),
    "computed base": ("computed", "def f():\n    return 1\n\nclass C(f()):  # HERE\n    pass"),
    # leaks and loops
    "print": ("outside", "def f(x):\n    print(x)  # HERE"),
    "warnings": ("outside", "import warnings  # HERE"),
    "error text": ("carry data", "def f(x):\n    raise ValueError(f'{x}')  # HERE"),
    "error value": ("carry data", "def f(x):\n    raise ValueError(x)  # HERE"),
    "assert text": ("carry data", "def f(x):\n    assert 1, x  # HERE"),
    "odd error": ("ordinary errors", "def f(x):\n    raise x  # HERE"),
    "computed error": ("ordinary errors", "def f(x):\n    raise max(x)  # HERE"),
    "chained error": ("ordinary errors", "def f(x):\n    raise ValueError('a') from x  # HERE"),
    "endless loop": ("for ever", "def f(x):\n    while True:  # HERE\n        pass"),
    "endless sum": ("for ever", "def f(x):\n    while 1 < 2:  # HERE\n        pass"),
    "sleep": ("imports", "import time  # HERE"),
    "endless iterator": ("`iter`", "def f(x):\n    return list(iter(int, 1))  # HERE"),
    # what the eye does not see
    "homoglyph": ("alphabet", "def f(x):\n    \u0430 = x  # HERE\n    return \u0430  # HERE"),
    "folded letters": ("alphabet", "import torch\nx = \uff54orch.ones(1)  # HERE"),
    "folded open": ("files", "x = \uff4fpen('a')  # HERE"),
    "folded open in an f-string": ("files", "x = f'{\uff4fpen(1)}'  # HERE"),
    "bidi in a comment": ("U+202E", "def f(x):\n    return x  # \u202e HERE"),
    "bidi in a text": ("U+2067", "def f(x):\n    return 'a\u2067b'  # HERE"),
    "zero width": ("U+200B", "x = 'a\u200bb'  # HERE"),
    "no-break space": ("U+00A0", "x = 1  #\u00a0HERE # HERE"),
    "carriage return": ("U+000D", "x = 1  # harmless \rimport socket  # HERE"),
    "form feed": ("U+000C", "x = 1\n\x0cy = 2  # HERE"),
    "escape": ("U+001B", "x = '\x1b[2J'  # HERE"),
    "NUL": ("U+0000", "x = 1\ny = '\0'  # HERE"),
    "surrogate": ("U+D800", "x = 1\ny = '\ud800'  # HERE"),
    "byte order mark": ("U+FEFF", "\ufeffx = 1  # HERE"),
    # what cannot be read
    "no Python": ("none of it", "x = 1\ny = = 2  # HERE"),
    "open bracket": ("none of it", "x = (1  # HERE"),
    "bad indentation": ("none of it", "def f(x):\n    return 1\n  y = 2  # HERE"),
    "many brackets": ("none of it", f"x = {'(' * 250}{')' * 250}  # HERE"),
    "deep sum": ("too deeply", f"x = {'1+' * 20_000}1  # HERE"),
    "deep minus": ("too deeply", f"x = {'-' * 20_000}1  # HERE"),
    "deep chain": ("too deeply", f"x = y{'.a' * 20_000}  # HERE"),
}

CNN = '''
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SmallCnn(nn.Module):
    """A network; docstrings may say __init__ and {self.conv}."""

    def __init__(self, classes: int = 7, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, kernel_size=3, padding=1)
        self.norm = nn.GroupNorm(4, 2 * width)
        self._head = nn.Linear(2 * width, classes)
        self.register_buffer("centre", torch.full((1, 3, 1, 1), 0.5))

    @property
    def width(self) -> int:
        return self.conv1.out_channels

    @staticmethod
    def flat(x: Tensor) -> Tensor:
        return x.flatten(1)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4:
            raise ValueError("input must have four dimensions")
        x = F.relu(self.conv1(input - self.centre))
        x = F.max_pool2d(F.silu(self.norm(self.conv2(x))), 2)
        return self._head(self.flat(F.adaptive_avg_pool2d(x, 1)))
'''
UNET = """
import torch
import torch.nn as nn
import torch.nn.functional as F


class DoubleConv(nn.Sequential):
    def __init__(self, before, after):
        layers = []
        for channels in (before, after):
            layers += [nn.Conv2d(channels, after, 3, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
        super(DoubleConv, self).__init__(*layers)


class Up(nn.Module):
    def __init__(self, before: int, skip: int, after: int):
        super().__init__()
        self.blocks = nn.ModuleList([DoubleConv(before + skip, after)])
        nn.init.kaiming_normal_(self.blocks[0][0].weight)

    def forward(self, x, skip):
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        x = torch.cat([x, skip], dim=1)
        for block in self.blocks:
            x = block(x)
        return x
"""
LOSS = """
import torch
from torch import Tensor
from typing import Optional


def dice_loss(logits: Tensor, target: Tensor, weight: Optional[Tensor] = None) -> Tensor:
    smooth = 1e-5
    probabilities = torch.softmax(logits, dim=1)
    axes = tuple(range(2, logits.ndim))
    overlap = (probabilities * target).sum(axes)
    total = probabilities.sum(axes) + target.sum(axes)
    score = (2 * overlap + smooth) / (total + smooth)
    score = score if weight is None else score * weight
    entropy = torch.nn.functional.cross_entropy(logits, target.argmax(dim=1))
    assert logits.shape == target.shape, "one target for each pixel"
    return 1 - score.mean() + 0.5 * entropy
"""
METRIC = """
import math

import numpy as np


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> dict:
    edges = np.linspace(0.0, 1.0, bins + 1)
    errors = []
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (probabilities > low) & (probabilities <= high)
        if inside.any():
            gap = abs(probabilities[inside].mean() - labels[inside].mean())
            errors.append(float(gap) * int(inside.sum()) / len(labels))
    total = sum(errors)
    return {"ece": total, "log": math.log1p(total), "rmse": math.sqrt(np.mean(np.square(errors)))}
"""
STEP = """
import torch
from torch import nn, optim


def train(model, batches, lr=0.1, steps=10):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    scheduler = lambda step: lr * 0.5 ** (step / steps)
    model.train()
    losses: list[float] = []
    for step, (images, labels) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = scheduler(step)
        optimizer.zero_grad()
        loss = criterion(model(images.float().to("cpu")), labels.long())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if (best := min(losses)) < 1e-3:
            break
    while len(losses) < steps:
        losses.append(best)
    with torch.no_grad():
        for p in model.parameters():
            p.data = p.data.clamp(-1, 1)
            p.grad = None
    model.eval()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
"""
ATTENTION = """
from collections.abc import Sequence
from math import sqrt

import torch
from torch import nn


class Attention(nn.Module):
    expansion = 3

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads, self.scale = heads, 1 / sqrt(dim // heads)
        self.qkv = nn.Linear(dim, self.expansion * dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)
        return (weights @ v).transpose(1, 2).reshape(b, n, d)


def widths(model: Attention, extra: Sequence[int]) -> list[int]:
    return [model.heads * w for w in sorted({*extra, model.qkv.weight.size(0)}, reverse=True)]
"""
BENIGN = {
    "small CNN": CNN,
    "CNN with carriage returns": CNN.replace("\n", "\r\n"),
    "U-Net block": UNET,
    "loss": LOSS,
    "metric": METRIC,
    "training step": STEP,
    "attention": ATTENTION,
    "letters in a text": "def f(x):\n    return {'Größe': x}  # naïve\n",
    "odd escape in a text": "x = '\\d'\n",
    "nothing": "",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_has_a_finding_where_it_is_hostile(name: str) -> None:
    word, code = HOSTILE[name]
    marked = {n for n, line in enumerate(code.split("\n"), start=1) if "HERE" in line}
    found = findings(code)
    assert marked
    assert marked <= {finding.line for finding in found}
    assert any(word in finding.reason and finding.line in marked for finding in found), found


@pytest.mark.parametrize("name", BENIGN)
def test_ordinary_model_code_has_no_finding(name: str) -> None:
    assert findings(BENIGN[name]) == ()


@pytest.mark.parametrize("plan_hash", ["0" * 64, "ab" * 32, "f" * 64, "0123456789abcdef" * 4])
def test_the_thin_traveller_has_no_finding(plan_hash: str) -> None:
    assert findings(traveller.source(plan_hash)) == ()


def test_what_no_review_can_see_has_no_finding() -> None:
    copies = "def f(model, batch):\n    for p in model.parameters():\n        p.data = batch\n"
    huge = "import torch\n\ndef f(x):\n    return torch.ones(10**13)\n"
    assert findings(copies) == findings(huge) == ()


def test_every_listed_name_exists_and_is_no_module() -> None:
    for module, names in ALLOWED.items():
        room = importlib.import_module(module)
        for name in names:
            assert not isinstance(getattr(room, name), types.ModuleType), f"{module}.{name}"


def test_no_listed_attribute_gives_a_module_or_reaches_a_file() -> None:
    values: tuple[object, ...] = (
        torch.zeros(1, 1),
        np.zeros(1),
        torch.nn.Linear(1, 1),
        "",
        [],
        {},
        len,
        lambda: 1,
    )
    for value in values:
        for name in ATTRIBUTES & set(dir(value)):
            assert not isinstance(getattr(value, name), types.ModuleType), name
    assert not ATTRIBUTES & {"tofile", "dump", "dumps", "ctypes", "format", "compile", "save"}


def test_a_text_too_long_is_one_finding_and_is_not_read() -> None:
    (finding,) = findings("x = 1\n" * 20_000)
    assert finding.line == 1
    assert "120000 characters" in finding.reason


def test_findings_stand_in_order_of_line_and_once() -> None:
    found = findings("import socket\nx = open(open('a'))\nimport os\n")
    assert [finding.line for finding in found] == [1, 2, 3]


def test_a_module_bound_again_is_not_also_called_a_value() -> None:
    (finding,) = findings("import torch\ntorch = 1\n")
    assert "second meaning" in finding.reason


def test_many_findings_end_with_how_many_more() -> None:
    found = findings("open()\n" * 130)
    assert len(found) == static_review.MAX_FINDINGS + 1
    assert found[-1] == Finding(line=101, reason="From here on, 30 more findings.")


def test_a_reason_shows_names_in_plain_letters_and_bounded_length() -> None:
    found = findings(f"import {'a' * 5000}\n\u0430\u0430 = 1\n")
    assert all(finding.reason.isascii() and len(finding.reason) < 300 for finding in found)
    assert "`\\u0430\\u0430`" in found[1].reason


@pytest.mark.parametrize("error", [MemoryError, RecursionError, SystemError, ValueError])
def test_a_parser_that_gives_up_is_a_finding(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(code: str) -> ast.Module:
        raise error

    monkeypatch.setattr(ast, "parse", give_up)
    (finding,) = findings("x = 1\n")
    assert "not reviewed" in finding.reason


def test_a_text_that_does_not_fall_into_words_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(readline: object) -> list[object]:
        raise tokenize.TokenError

    monkeypatch.setattr(tokenize, "generate_tokens", give_up)
    (finding,) = findings("x = 'é'\n")
    assert "words" in finding.reason


def checked(code: str) -> None:
    started = time.process_time()
    found = findings(code)
    assert time.process_time() - started < 2
    assert len(found) <= static_review.MAX_FINDINGS + 1
    lines = [finding.line for finding in found]
    assert lines == sorted(lines)
    assert all(line >= 1 for line in lines)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_is_reviewed_without_an_exception(code: str) -> None:
    checked(code)


FRAGMENTS = st.one_of(
    st.text(max_size=5),
    st.sampled_from(
        [
            "\n",
            "    ",
            "(",
            ")",
            "'",
            '"',
            "f'{",
            "}",
            ":",
            "=",
            ".",
            "*",
            "@",
            "\\",
            "#",
            "\r",
            "\0",
        ]
    ),
    st.sampled_from(
        ["lambda ", "async ", "del ", "match x:\n case ", "import ", "from . ", "torch", "__x__"]
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    code=st.sampled_from(
        [*BENIGN.values(), *(code for _, code in HOSTILE.values() if len(code) < 900)]
    ),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 30), FRAGMENTS), min_size=1, max_size=8
    ),
)
def test_any_mutation_is_reviewed_without_an_exception(
    code: str, edits: list[tuple[float, int, str]]
) -> None:
    for where, length, new in edits:
        start = int(where * len(code))
        code = code[:start] + new + code[start + length :]
    checked(code)


@pytest.mark.parametrize(
    "unit",
    [
        "a.",
        "x=a\n",
        "a,",
        "import os\n",
        "def f():pass\n",
        "f'{a}' ",
        "while 1:0\n",
        "é=1\n",
        "@a\n",
        "'''\n",
        "class C:a=b\n",
        "(",
        "lambda:",
        "\u202e",
    ],
)
def test_the_longest_texts_are_reviewed_to_an_end(unit: str) -> None:
    code = unit * (static_review.MAX_CHARACTERS // len(unit))
    findings(code)
