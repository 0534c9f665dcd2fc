"""The fixed list: which networks, at which size of input, become which graphs.

Of every family of torchvision that classifies, segments or detects, the small members, and a broad set of timm. There
are ten settings: five exports (legacy exporter at opset 13, 17, 20; dynamo at 18, 20), each with constants all
distinct and with constants shared. The i-th network of torchvision takes three settings from the 3i-th on, round and
round, larger members of a family one, those of timm one, the i-th from the i-th on; since 3 has no factor in common
with 10, all settings come as often. Detectors take those of the legacy exporter. First comes one graph of every
network but the larger ones, so that a run that is stopped early is broad already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

__all__ = ["NETWORKS", "SETTINGS", "Graph", "Network", "Setting", "graphs"]


@dataclass(frozen=True)
class Setting:
    """How a network is written: the exporter, its opset, and whether equal constants occur."""

    exporter: str
    opset: int
    constants: str

    def __str__(self) -> str:
        return f"{self.exporter}{self.opset}-{self.constants}"


@dataclass(frozen=True)
class Network:
    """A network by the name that its library has for it, with the edge of its input in pixels.

    ``task`` is classify, segment or detect; ``options`` go to the library; ``settings`` is the number of its graphs.
    """

    library: str
    name: str
    size: int
    task: str = "classify"
    settings: int = 1
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.library}.{self.name}"


@dataclass(frozen=True)
class Graph:
    """A network in one setting."""

    network: Network
    setting: Setting

    def __str__(self) -> str:
        return f"{self.network}-{self.setting}"


SETTINGS = tuple(
    Setting(exporter, opset, constants)
    for exporter, opset, constants in [
        ("legacy", 17, "shared"),
        ("dynamo", 18, "distinct"),
        ("legacy", 13, "distinct"),
        ("legacy", 20, "shared"),
        ("dynamo", 20, "distinct"),
        ("legacy", 13, "shared"),
        ("legacy", 17, "distinct"),
        ("dynamo", 18, "shared"),
        ("legacy", 20, "distinct"),
        ("dynamo", 20, "shared"),
    ]
)

FAMILIES = {  # of torchvision, by input size
    64: """resnet18 mobilenet_v2 shufflenet_v2_x1_0 regnet_y_400mf densenet121 efficientnet_b0 mobilenet_v3_small
        squeezenet1_1 mnasnet0_5 resnet50 regnet_x_400mf resnext50_32x4d convnext_tiny efficientnet_v2_s wide_resnet50_2
        mobilenet_v3_large shufflenet_v2_x0_5 squeezenet1_0 mnasnet1_0""",
    96: "googlenet inception_v3 swin_t swin_v2_t vit_b_16",
    224: "maxvit_t alexnet vgg11_bn vgg11",
}
LARGER = {
    64: """resnet34 resnet101 resnet152 regnet_x_800mf regnet_y_800mf regnet_x_1_6gf regnet_y_1_6gf densenet169
        densenet201 densenet161 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_v2_m mnasnet0_75 mnasnet1_3
        shufflenet_v2_x1_5 shufflenet_v2_x2_0 resnext101_32x8d wide_resnet101_2 convnext_small""",
    96: "swin_s swin_v2_s vit_b_32",
    224: "vgg13_bn vgg16",
}
SEGMENT = "lraspp_mobilenet_v3_large deeplabv3_mobilenet_v3_large fcn_resnet50 deeplabv3_resnet50 fcn_resnet101"
DETECT = """ssdlite320_mobilenet_v3_large ssd300_vgg16 retinanet_resnet50_fpn fasterrcnn_mobilenet_v3_large_fpn
    fcos_resnet50_fpn fasterrcnn_resnet50_fpn maskrcnn_resnet50_fpn keypointrcnn_resnet50_fpn retinanet_resnet50_fpn_v2
    fasterrcnn_resnet50_fpn_v2 maskrcnn_resnet50_fpn_v2 fasterrcnn_mobilenet_v3_large_320_fpn"""
TIMM = {
    64: """resnet10t regnetx_002 seresnext26d_32x4d skresnet18 resnest14d res2net50_26w_4s res2next50 cspresnet50
        cspdarknet53 darknet17 dla34 dla60_res2net dla46x_c dpn48b dpn68 vovnet39a ese_vovnet19b_dw hardcorenas_a
        hrnet_w18_small xception41 legacy_xception mixnet_s efficientnet_lite0 tf_efficientnet_b0 efficientnetv2_rw_t
        fbnetc_100 fbnetv3_b ghostnet_050 ghostnetv2_100 ghostnetv3_050 lcnet_050 mobilenetv3_small_050
        mobilenetv4_conv_small mobilenetv1_100 mnasnet_small semnasnet_075 tinynet_e spnasnet_100 rexnet_100 rexnetr_100
        regnety_002 regnetz_005 repvgg_a0 repghostnet_050 mobileone_s0 fastvit_t8 repvit_m0_9 selecsls42b gernet_s
        nf_resnet26 eca_nfnet_l0 nf_regnet_b0 convnext_atto convnextv2_atto convmixer_768_32 legacy_seresnet18
        ecaresnet26t resnetv2_18 resnetv2_50 resnetblur50 resnetaa50 resnet51q seresnet33ts gcresnext26ts cs3darknet_s
        cs3sedarknet_xdw lambda_resnet26t tresnet_m hgnet_tiny hgnetv2_b0 inception_next_atto starnet_s1 shvit_s1
        fasternet_t0 rdnet_tiny efficientvit_b0 efficientvit_m0 mobilevit_xxs mobilevitv2_050 mobilenetv4_hybrid_medium
        poolformer_s12 pvt_v2_b0 edgenext_xx_small convformer_s18 caformer_s18 mambaout_femto nextvit_small csatv2
        swiftformer_xs focalnet_tiny_srf davit_tiny mvitv2_tiny xcit_nano_12_p16_224 twins_svt_small crossvit_tiny_240
        sequencer2d_s tiny_vit_5m_224 pnasnet5large""",
    128: "inception_v4 inception_resnet_v2",
    224: "efficientformer_l1",
    256: "bat_resnext26ts halonet26t",
}
SIZED = """vit_tiny_patch16_224 coat_lite_tiny coatnet_nano_rw_224 convit_tiny cait_xxs24_224 levit_128s levit_conv_128s
    mixer_s32_224 gmixer_12_224 gmlp_ti16_224 resmlp_12_224 pit_ti_224 swinv2_cr_tiny_224 visformer_tiny
    volo_d1_224 efficientformerv2_s0 maxvit_rmlp_pico_rw_256 maxxvit_rmlp_nano_rw_256 nest_tiny botnet26t_256
    eva02_tiny_patch14_224 vit_relpos_small_patch16_224"""  # whose weights depend on the size

PLAIN = {"aux_logits": False, "init_weights": False}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "googlenet": PLAIN,
    "inception_v3": PLAIN,
    "maxvit_t": {"input_size": (224, 224)},
    "vit_b_16": {"image_size": 96},
    "vit_b_32": {"image_size": 96},
}
EDGES = {"ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320}  # others scale what they are given


def _sized(names: Mapping[int, str], library: str, settings: int) -> Iterator[Network]:
    for size, text in names.items():
        for name in text.split():
            yield Network(library, name, size, settings=settings, options=OPTIONS.get(name, {}))


FIRST = (
    *_sized(FAMILIES, "torchvision", 3),
    *(Network("torchvision", name, 96, "segment", 3) for name in SEGMENT.split()),
    *(Network("torchvision", name, EDGES.get(name, 128), "detect", 3) for name in DETECT.split()),
)
SECOND = (
    *_sized(TIMM, "timm", 1),
    *(Network("timm", name, 64, options={"img_size": 64}) for name in SIZED.split()),
)
THIRD = tuple(_sized(LARGER, "torchvision", 1))
NETWORKS = (*FIRST, *SECOND, *THIRD)


def graphs() -> list[Graph]:
    """All graphs in the order in which they are made: one of every network, the others, the larger networks."""
    first, second, third = ([_of(*each) for each in enumerate(part)] for part in (FIRST, SECOND, THIRD))
    order = chain.from_iterable((*zip_longest(*first, *second), *third))
    return [graph for graph in order if graph is not None]


def _of(index: int, network: Network) -> list[Graph]:
    found, count = [s for s in SETTINGS if network.task != "detect" or s.exporter == "legacy"], network.settings
    return [Graph(network, found[(count * index + number) % len(found)]) for number in range(count)]
