"""Models of timm and torchvision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from architectures.spec import Architecture
from costs.vision import import_torchvision


def _timm(name: str, size: int, sizes: dict[str, Any]) -> tuple[nn.Module, Any]:
    import_torchvision()
    timm: Any = import_module("timm")
    return timm.create_model(name, pretrained=False, num_classes=5, **sizes), (torch.randn(2, 3, size, size),)


def _mixer() -> tuple[nn.Module, Any]:
    import_torchvision()
    mixer: Any = import_module("timm.models.mlp_mixer")
    return mixer.MlpMixer(5, 32, patch_size=8, num_blocks=2, embed_dim=24), (torch.randn(2, 3, 32, 32),)


def _regnet() -> tuple[nn.Module, Any]:
    import_torchvision()
    regnet: Any = import_module("timm.models.regnet")
    config = regnet.RegNetCfg(depth=8, w0=8, wa=8.0, wm=2.0, group_size=8)
    return regnet.RegNet(config, num_classes=5), (torch.randn(2, 3, 32, 32),)


def _resnetv2() -> tuple[nn.Module, Any]:
    import_torchvision()
    resnetv2: Any = import_module("timm.models.resnetv2")
    norm = partial(resnetv2.GroupNormAct, num_groups=8)
    net = resnetv2.ResNetV2((1, 1), (64, 128), 5, stem_chs=32, norm_layer=norm)
    return net, (torch.randn(2, 3, 32, 32),)


def _torchvision(make: Callable[[Any], Any], size: int) -> tuple[nn.Module, Any]:
    import_torchvision()
    return make(import_module("torchvision")), (torch.randn(2, 3, size, size),)


_SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 4}
_WINDOWS = {"img_size": 32, "window_size": 4, "embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2)}
_TIMM: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
    ("timm-resnet", "test_resnet", 32, {}),
    ("timm-byobnet", "test_byobnet", 32, {}),
    ("timm-efficientnet", "test_efficientnet", 32, {}),
    ("timm-efficientnet-gn", "test_efficientnet_gn", 32, {}),
    ("timm-efficientnet-ln", "test_efficientnet_ln", 32, {}),
    ("timm-efficientnet-evos", "test_efficientnet_evos", 32, {}),
    ("timm-efficientnet-frn", "test_efficientnet", 32, {"norm_layer": "frntlu"}),
    ("timm-convnext", "test_convnext", 32, {}),
    ("timm-convnextv2", "test_convnext2", 32, {"use_grn": True}),
    ("timm-vit", "vit_tiny_patch16_224", 16, _SMALL),
    ("timm-vit-qk", "vit_tiny_patch16_224", 16, {**_SMALL, "qk_norm": True}),
    (
        "timm-swin",
        "swin_tiny_patch4_window7_224",
        32,
        _WINDOWS,
    ),
    ("timm-coatnet", "test_coatnet", 64, {"img_size": 64}),
    ("timm-mambaout", "test_mambaout", 32, {}),
)


def _resnet(torchvision: Any, **options: Any) -> Any:
    """ResNet with one small block in each of two stages; the other two are gone."""
    net: Any = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5, **options)
    net.layer3, net.layer4 = nn.Identity(), nn.Identity()
    net.fc = nn.Linear(128, 5)
    return net


def _frozen_resnet(torchvision: Any) -> Any:
    return _resnet(torchvision, norm_layer=torchvision.ops.FrozenBatchNorm2d)


def _group_resnet(torchvision: Any) -> Any:
    return _resnet(torchvision, norm_layer=partial(nn.GroupNorm, 8))


def _densenet(torchvision: Any) -> Any:
    return torchvision.models.DenseNet(4, (2, 2), 8, num_classes=5)


def _mobilenet(torchvision: Any) -> Any:
    return torchvision.models.mobilenet_v2(num_classes=5, width_mult=0.1)


def _convnext(torchvision: Any) -> nn.Module:
    setting = [
        torchvision.models.convnext.CNBlockConfig(8, 16, 1),
        torchvision.models.convnext.CNBlockConfig(16, None, 1),
    ]
    net: nn.Module = torchvision.models.ConvNeXt(setting, num_classes=5)
    return net


def _vit(torchvision: Any) -> Any:
    return torchvision.models.VisionTransformer(16, 4, 2, 4, 32, 48, num_classes=5)


def _deeplab(torchvision: Any) -> nn.Module:
    net = _resnet(torchvision)
    backbone = nn.Sequential(net.conv1, net.bn1, net.relu, net.layer1, net.layer2)
    head = torchvision.models.segmentation.deeplabv3.DeepLabHead(128, 5, (2, 4))
    return nn.Sequential(backbone, head)


_VISION: tuple[tuple[str, Callable[[Any], Any], int], ...] = (
    ("torchvision-resnet", _resnet, 32),
    ("torchvision-resnet-frozen", _frozen_resnet, 32),
    ("torchvision-resnet-group", _group_resnet, 32),
    ("torchvision-densenet", _densenet, 32),
    ("torchvision-mobilenet", _mobilenet, 32),
    ("torchvision-convnext", _convnext, 32),
    ("torchvision-vit", _vit, 16),
    ("torchvision-deeplab", _deeplab, 32),
)
_UNKNOWN = "none of the formulas"
_ACTIVATES = "which the model would lose"
_WITHOUT = r"blocks\.([12]\.0\.bn2|[34]\.0\.bn3)"  # without the activation, and so of another formula
_LEFT = {
    "timm-convnextv2": (("GlobalResponseNorm", _UNKNOWN),),
    "timm-efficientnet-evos": ((_WITHOUT, _UNKNOWN), ("EvoNorm2dS0", _ACTIVATES)),
    "timm-efficientnet-frn": ((_WITHOUT, _UNKNOWN), ("FilterResponseNormTlu2d", _ACTIVATES)),
}
ARCHITECTURES = (
    *(
        Architecture(name, "timm", partial(_timm, kind, size, sizes), _LEFT.get(name, ()))
        for name, kind, size, sizes in _TIMM
    ),
    Architecture("timm-mixer", "timm", _mixer),
    Architecture("timm-regnet", "timm", _regnet),
    Architecture("timm-resnetv2-group", "timm", _resnetv2),
    *(Architecture(name, "torchvision", partial(_torchvision, make, size)) for name, make, size in _VISION),
)
