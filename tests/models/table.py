"""One row per network of the zoo: a small configuration for the common suite, and the published counts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from hypersharp.models import (
    csakd,
    cst,
    edlgfs,
    essaformer,
    fcnn3d,
    grdn,
    hyfusion,
    lean,
    lkca,
    ln_atten_cnn,
    mcnet,
    msdformer,
    s3rnet,
    snlsr,
    sspsr,
    vdsr,
)
from hypersharp.models._count import FVCORE, THOP, TRUE, Rules

# LKCA's tables are fvcore's at LR 16x16; its hand-written LayerNorm escapes that counter.
LKCA_RULES = dataclasses.replace(FVCORE, norm=0)


@dataclass(frozen=True)
class Published:
    """A figure printed in a paper; `msi_bands` of a network that fuses."""

    bands: int
    scale: int
    parameters_m: float
    macs_g: float | None = None
    config: Any = None
    source: str = ""
    msi_bands: int | None = None


@dataclass(frozen=True)
class Row:
    """What the common suite needs to know about a network.

    Attributes:
        small: a configuration that runs in a moment.
        published: printed figures.
        digits: decimals of the printed parameters, in millions.
        rules: how the paper counted.
        lr_size: side of the LR image that the paper counted at.
        tolerance: how far tiles, batches and exports may be off, relative to the output's spread.
        plain_skip: bicubic enlargement is added at the very end, so that weights of zero leave it.
        allowed: test name to the reason why it may fail.
    """

    small: Any
    published: tuple[Published, ...]
    digits: int
    rules: Rules
    lr_size: int
    tolerance: float = 1e-5
    plain_skip: bool = False
    allowed: dict[str, str] = field(default_factory=dict)


def _lkca(rows: str, config: type, source: str) -> tuple[Published, ...]:
    """`scale bands parameters macs` a line."""
    cells = [line.split() for line in rows.strip().splitlines()]
    return tuple(Published(int(b), int(s), float(p), float(m), config(), source) for s, b, p, m in cells)


_NET = """
4 128 3.707 0.867
4 48 2.138 0.466
4 102 3.197 0.737
8 128 10.798 2.679
8 48 4.797 1.145
8 102 8.847 2.180
"""
_LR = """
4 128 1.643 0.338
4 48 1.364 0.268
4 102 1.552 0.315
8 128 2.540 0.565
8 48 1.700 0.353
8 102 2.267 0.496
"""
# LKCA Table I: 128 bands, x4, by number of blocks.
_BLOCKS = {4: (2.810, 0.698), 8: (3.109, 0.754), 32: (4.904, 1.092), 48: (6.100, 1.317), 64: (7.297, 1.543)}

_CST = """
4 128 11.119 5.370
4 48 10.730 4.275
4 102 10.993 5.014
8 128 12.286 15.244
8 48 11.897 10.964
8 102 12.160 13.853
"""
_MSD = """
4 128 15.527 13.109
4 48 13.536 7.675
4 102 14.908 11.413
8 128 17.601 28.398
8 48 15.611 18.717
8 102 16.983 25.321
"""
_SNLSR = """
4 128 1.652 0.888
4 48 1.477 0.834
4 102 1.595 0.871
"""
_MCNET = """
4 128 2.174 71.83
4 48 2.174 26.94
4 102 2.174 57.24
8 128 2.961 100.32
8 48 2.961 37.62
8 102 2.961 79.94
"""
_SSPSR = """
4 128 13.564 43.484
4 48 13.011 20.538
4 102 13.385 36.394
8 128 15.925 122.891
8 48 15.372 62.706
8 102 15.745 104.255
"""
_VDSR = """
4 128 1.917 0.491
4 48 1.134 0.290
4 102 1.662 0.426
8 128 5.456 1.397
8 48 2.461 0.630
8 102 4.482 1.148
"""
_FCNN = """
4 128 3.378 0.864
4 48 1.268 0.324
4 102 2.692 0.689
8 128 7.531 1.926
8 48 2.826 0.723
8 102 6.002 1.535
"""
_ESSA = """
4 128 11.641 52.135
4 48 11.272 51.333
4 102 11.521 51.874
8 128 14.149 205.593
8 48 13.780 202.526
8 102 14.029 204.596
"""
_FUSING = "measured on the published code of CSAKD and S3RNet"
_SWAPPED = "LKCA, Tables V-VII; the x4 rows of VDSR and 3D-FCNN in VI are each other's"

TABLE: dict[str, Row] = {
    "csakd_student": Row(
        small=csakd.StudentConfig(features=8, growth=4, depths=(0, 1, 1, 1), cube_groups=2, inner=8, heads=2),
        published=(Published(172, 4, 8.749, 144.77, csakd.StudentConfig(), f"{_FUSING}; MACs: its README", 4),),
        digits=3,
        rules=THOP,
        lr_size=64,
    ),
    "csakd_teacher": Row(
        small=csakd.Config(features=8, growth=4, depths=(1, 1, 1, 1), inner=8, heads=2),
        published=(  # MACs in test_csakd.py: the printed ones are a few millions off
            Published(172, 4, 26.808, None, csakd.Config(), _FUSING, 4),
            Published(172, 4, 26.812, None, csakd.Config(), _FUSING, 6),
            Published(172, 4, 37.198, None, csakd.Config(depths=(8, 8, 6, 6)), f"{_FUSING}, large", 4),
        ),
        digits=3,
        rules=THOP,
        lr_size=64,
    ),
    "cst": Row(
        small=cst.Config(features=64, depths=(2,), heads=4),
        published=_lkca(_CST, cst.Config, "measured on the published code: convolutions and matrix products"),
        digits=3,
        rules=TRUE,
        lr_size=16,
    ),
    "edlgfs": Row(
        small=edlgfs.Config(features=48, stages=2, layers=1, heads=2),
        published=(
            *(
                Published(48, 4, parameters, macs, edlgfs.Config(stages=stages), "EDLGFS, number of stages, Houston x4")
                for stages, parameters, macs in (
                    (3, 6.00, 34.32),
                    (4, 7.71, 41.52),
                    (5, 9.43, 48.71),
                    (6, 11.14, 55.91),
                )
            ),
            Published(102, 4, 7.85, None, edlgfs.Config(), "EDLGFS, Pavia x4"),
            Published(128, 4, 7.92, None, edlgfs.Config(), "EDLGFS, Chikusei x4"),
        ),
        digits=2,
        rules=THOP,
        lr_size=64,
    ),
    "essaformer": Row(
        small=essaformer.Config(features=8, dropout=0.0),
        published=_lkca(_ESSA, essaformer.Config, "LKCA, Tables V-VII"),
        digits=3,
        rules=FVCORE,
        lr_size=16,
    ),
    "fcnn3d": Row(
        small=fcnn3d.Config(features=(16, 12, 8)),
        published=tuple(
            Published(bands, 4, 0.039405, None, fcnn3d.Config(), "Mei et al.: 39,405 for any number of bands")
            for bands in (31, 128)
        ),
        digits=6,
        rules=LKCA_RULES,
        lr_size=16,
    ),
    "fcnn3d_lr": Row(
        small=fcnn3d.Config(features=(8, 6, 4)),
        published=_lkca(_FCNN, fcnn3d.Config, _SWAPPED),
        digits=3,
        rules=LKCA_RULES,
        lr_size=16,
    ),
    "grdn": Row(
        small=grdn.Config(features=8, blocks=2, layers=2, growth=4, gradient_blocks=1),
        published=(),  # the paper's dimensions are not known
        digits=3,
        rules=TRUE,
        lr_size=16,
        plain_skip=True,
    ),
    "hyfusion": Row(
        small=hyfusion.Config(features=8, growth=4, blocks=1, heads=2),
        published=(),  # the paper's counts are not known
        digits=3,
        rules=TRUE,
        lr_size=64,
    ),
    "lkca_lr": Row(
        small=lkca.LowRankConfig(features=16, blocks=2, reduction=4, upsampler=lkca.Upsampler("grouped", groups=2)),
        published=_lkca(_LR, lkca.LowRankConfig, "LKCA, Tables V-VII"),
        digits=3,
        rules=LKCA_RULES,
        lr_size=16,
        plain_skip=True,
    ),
    "lkca_net": Row(
        small=lkca.Config(features=16, blocks=2, reduction=4),
        published=(
            *_lkca(_NET, lkca.Config, "LKCA, Tables V-VII"),
            *(
                Published(128, 4, parameters, macs, lkca.Config(blocks=blocks), "LKCA, Table I")
                for blocks, (parameters, macs) in _BLOCKS.items()
            ),
        ),
        digits=3,
        rules=LKCA_RULES,
        lr_size=16,
        plain_skip=True,
    ),
    "lean": Row(
        small=lean.Config(features=8, blocks=2),
        published=(
            # by hand: 9·8·64 + 64 in, 16 convolutions of 9·64·64 + 64, 9·64·128 + 128 out
            Published(8, 4, 0.669376, None, lean.Config(), "ours: by hand"),
        ),
        digits=6,
        rules=TRUE,
        lr_size=16,
        plain_skip=True,
    ),
    "ln_atten_cnn": Row(
        small=ln_atten_cnn.Config(features=8, blocks=2),
        published=(),  # the paper's dimensions are not known
        digits=3,
        rules=TRUE,
        lr_size=16,
        plain_skip=True,
    ),
    "mcnet": Row(
        small=mcnet.Config(features=6, modules=1),
        published=_lkca(_MCNET, mcnet.Config, "measured on the published code: convolutions and matrix products"),
        digits=3,
        rules=TRUE,
        lr_size=16,
        allowed={
            "test_the_bicubic_skip_carries_the_scene": "normalised weights of zero have no direction; there is no skip",
        },
    ),
    "msdformer": Row(
        small=msdformer.Config(features=24, blocks=2, heads=3, expansion=2, group=4, reduction=2),
        published=_lkca(_MSD, msdformer.Config, "LKCA, Tables V-VII"),
        digits=3,
        rules=FVCORE,
        lr_size=16,
    ),
    "s3rnet": Row(
        small=s3rnet.Config(features=8, growth=4, depths=(1, 1, 1, 1), inner=8, heads=2, drawn=True),
        published=(
            Published(172, 4, 26.808, None, s3rnet.Config(), _FUSING, 4),
            Published(172, 4, 26.812, None, s3rnet.Config(), _FUSING, 6),
        ),
        digits=3,
        rules=THOP,
        lr_size=64,
    ),
    "snlsr": Row(
        small=snlsr.Config(features=16, endmembers=5, encoder=(8, 7, 6), blocks=1),
        published=_lkca(_SNLSR, snlsr.Config, "measured on the published code: convolutions and matrix products"),
        digits=3,
        rules=TRUE,
        lr_size=16,
        plain_skip=True,
    ),
    "sspsr": Row(
        small=sspsr.Config(features=8, blocks=1, group=4, reduction=2),
        published=_lkca(_SSPSR, sspsr.Config, "LKCA, Tables V-VII"),
        digits=3,
        rules=FVCORE,
        lr_size=16,
    ),
    "vdsr": Row(
        small=vdsr.Config(features=8, depth=4),
        published=(Published(1, 2, 0.665921, None, vdsr.Config(), "Kim et al.: 20 layers of 64, by hand"),),
        digits=6,
        rules=LKCA_RULES,
        lr_size=16,
        plain_skip=True,
    ),
    "vdsr_lr": Row(
        small=vdsr.LowResolutionConfig(features=8, depth=4),
        published=_lkca(_VDSR, vdsr.LowResolutionConfig, _SWAPPED),
        digits=3,
        rules=LKCA_RULES,
        lr_size=16,
        plain_skip=True,
    ),
}
