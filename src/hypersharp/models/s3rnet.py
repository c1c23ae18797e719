"""S3RNet: sparse spatial-spectral representation by four dense trunks, weighed pixel by pixel.

Paper: Lee et al., "Robust Hyperspectral Image Panshapring [sic] via Sparse Spatial-Spectral Representation",
arXiv 2501.07953.
Idea: a multi-branch fusion network (MBFN) of four trunks for cube, MSI and both together at LR and at HR; each is a
chain of dense feature aggregation blocks (DFAB); the spatial-spectral attention weight block (SSAWB) attends between
channels and weighs the trunks pixel by pixel, which keeps little of what is redundant or noisy.

The published code of S3RNet and that of CSAKD are one program, byte by byte, with one table of results: MBFN is CSAKD's
dual two-stream structure, DFAB its dense block, SSAWB its cross self-attention. So this is `csakd.FourTrunks` at the
teacher's dimensions, trained alone, and every departure that `csakd.py` names holds here.
The figures differ from that code. `drawn=True` is what they show: stems of convolution, leaky ReLU, convolution;
dense blocks that end with the convolution of all that was concatenated, without a skip of their own; Z concatenated
to the attention and projected with it, not added. How the concatenation comes back to F channels is not drawn: we take
the block's last convolution. The printed counts are those of the code, which is the default.
Training: smooth L1 + 0.1 · SAM + 0.1 · band energy, no teacher; Adam, 1e-4, cosine, batch 8.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypersharp.models import csakd
from hypersharp.models._spec import ModelSpec


@dataclass(frozen=True)
class Config(csakd.Config):
    """Dimensions, as in `csakd.Config`; the defaults are those of the published code."""


MODEL = ModelSpec(
    build=csakd.FourTrunks,
    config=Config,
    task="fuse",
    scales=(2, 3, 4, 6, 8),
    multiple_of=1,
    halo=csakd.halo,
    taps=csakd.taps,
    paper="Lee et al., Robust HSI Pansharpening via Sparse Spatial-Spectral Representation (S3RNet), arXiv 2501.07953",
)
