import importlib
import sys

import pytest
from torch import nn

from epsball.errors import ModelError
from epsball.models.vision_stub import torchvision_or_stub

USER = """
import torchvision.transforms.functional as F
from torchvision.ops.misc import FrozenBatchNorm2d
from torchvision import transforms
from torchvision.transforms import InterpolationMode
MODE = InterpolationMode.BILINEAR
class Own(FrozenBatchNorm2d): pass
def frozen(module): return isinstance(module, FrozenBatchNorm2d)
def crop(): return transforms.CenterCrop(3)
"""


@pytest.mark.parametrize("broken", [True, False])
def test_a_library_that_imports_torchvision_is_imported_where_it_cannot_be(broken, tmp_path, monkeypatch):
    (tmp_path / "user.py").write_text(USER)
    if broken:
        (tmp_path / "torchvision").mkdir()
        (tmp_path / "torchvision" / "inner.py").write_text("")
        (tmp_path / "torchvision" / "__init__.py").write_text(
            "from torchvision import inner\nraise RuntimeError('operator torchvision::nms does not exist')"
        )
    else:
        monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.syspath_prepend(tmp_path)
    with torchvision_or_stub() as stands_in:
        user = importlib.import_module("user")
    monkeypatch.delitem(sys.modules, "user")
    assert stands_in
    assert not user.frozen(nn.BatchNorm2d(2))
    with pytest.raises(ModelError, match="CenterCrop of torchvision is needed.*install torch and torchvision"):
        user.crop()
    assert not [name for name in sys.modules if name.startswith("torchvision.")]
    with pytest.raises((ImportError, RuntimeError)):
        importlib.import_module("torchvision")


def test_a_torchvision_that_works_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text("answer = 42")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with torchvision_or_stub() as stands_in:
        assert importlib.import_module("torchvision").answer == 42
    assert not stands_in
    monkeypatch.delitem(sys.modules, "torchvision")
