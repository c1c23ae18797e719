"""The recipe of a run: TOML, checked before anything is read; unknown keys are refused with the nearest name."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hypersharp._nearest import nearest
from hypersharp.degrade.psf import parse_psf
from hypersharp.degrade.srf import parse_srf
from hypersharp.errors import FileFormatError, UsageError
from hypersharp.train.complaint import explained
from hypersharp.train.losses import H_LOSS, KD_LOSS, TERMS
from hypersharp.train.overrides import set_value

Loss = dict[str, float]
_Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class ModelConfig(Section):
    """Which network.

    Attributes:
        name: as in `models.list_models`.
        config: fields of its own configuration.
    """

    name: str
    config: dict[str, Any] = {}


class BlockSplit(Section):
    """One part of every scene for validation, the rest for training.

    Attributes:
        side: edge of the scene at which the validation block lies.
        size: its rows or columns in HR pixels.
        gap: HR pixels between both that are in neither.
    """

    side: Literal["top", "bottom", "left", "right"] = "top"
    size: _Positive
    gap: Annotated[int, Field(ge=0)] = 0


class VaryConfig(Section):
    """Training scenes as many sensors would have them.

    Attributes:
        instances: how many of them.
        generated: share of them made of generated scenes, where there are any.
        bicubic: share of them with MATLAB's antialiased bicubic blur; the rest are Gaussian.
        sigma: lowest and highest width of half of these, in LR pixels.
        mtf: lowest and highest gain at the Nyquist frequency of the other half.
        clean: share of them without noise besides their own.
        snr_db: lowest and highest ratio of signal to added noise.
        most_bands: bands of one; at random, neighbours or any.
        gain: standard deviation of the logarithm of the bands' gains.
        describe: tell the network of blur and noise, as channels after the eigenimages.
        change: let it learn what consistency lacks in bicubic enlargement; else the image itself.
    """

    instances: _Positive
    generated: Annotated[float, Field(ge=0, le=1)] = 0.5
    bicubic: Annotated[float, Field(ge=0, le=1)] = 0.3
    sigma: tuple[float, float] = (0.3, 0.6)
    mtf: tuple[float, float] = (0.1, 0.4)
    clean: Annotated[float, Field(ge=0, le=1)] = 0.4
    snr_db: tuple[float, float] = (20.0, 45.0)
    most_bands: Annotated[int, Field(ge=4)] = 64
    gain: Annotated[float, Field(ge=0)] = 0.3
    describe: bool = True
    change: bool = True


class MsiConfig(Section):
    """A sharper image beside each scene, made of it, for networks that fuse.

    Attributes:
        bands: of it; the network is built for so many.
        draft: let the network see in their place a linear draft of the eigenimages, made of cube and image
            (subspace; `fusion.draft`); it then serves an MSI of any bands, and `bands` is how many are drawn without
            `srfs`.
        srfs: responses that are drawn from, each as `degrade.srf.parse_srf` takes it; the first is validated with. None
            for super-Gaussians at random places of the scene's bands, of random widths.
        assumed_wavelength_nm: of the first and the last band of scenes that do not say theirs; others evenly between.
        snr_db: lowest and highest ratio of signal to noise of the image, and of the cube where `vary` is not there to
            say; validation is in the middle of it.
        shift: HR pixels by which cube and image may lie apart, along rows and along columns.
    """

    bands: _Positive
    draft: bool = False
    srfs: list[str] = []
    assumed_wavelength_nm: tuple[float, float] | None = None
    snr_db: tuple[float, float] = (20.0, 40.0)
    shift: Annotated[float, Field(ge=0, le=1)] = 0.3

    @model_validator(mode="after")
    def _as_many(self) -> MsiConfig:
        for text in self.srfs:
            count = len(parse_srf(text).responses)
            if count != self.bands and not self.draft:
                raise ValueError(f"expected SRFs of {self.bands} bands, {text} has {count}; name one for each band")
        return self


class GeneratedConfig(Section):
    """Scenes that are drawn, or lifted from photographs; see `data.generate.GenerateConfig`."""

    dead_leaves: Annotated[int, Field(ge=0)] = 24
    photographs: bool | list[str] = True
    shrink: list[int] = [2, 4, 6]
    windows: _Positive = 6
    bands: _Positive = 48
    side: _Positive = 256
    synthetic: Annotated[float, Field(ge=0, le=1)] = 0.25
    snr_db: tuple[float, float] = (40.0, 60.0)


class DataConfig(Section):
    """Which pixels.

    Attributes:
        root: folder of the scenes; environment variables such as ``${HYPERSHARP_DATA}`` are filled in.
        train: files of scenes, with or without ending, relative to `root`; shell patterns allowed.
        validation: likewise; may be empty with `block`.
        test: likewise; scored once, after training.
        block: split the training scenes themselves.
        scale: HR pixels per LR pixel along a side.
        degradation: as `degrade.psf.parse_psf` takes it.
        crop_then_degrade: cut HR patches first and degrade each, with its borders mirrored, as the papers do; else the
            whole scene is degraded once and both are cut.
        domain: ``"bands"`` or ``"subspace"``.
        components: eigenimages in a subspace.
        divisor: quantile of the LR scene's magnitudes that becomes 1; 1 for its maximum.
        drop_noisy_db: leave out bands whose spread is less than this above their noise; none for no limit.
        patch: side of a patch in HR pixels.
        stride: HR pixels between patches on a grid; 0 for random places.
        per_epoch: patches per epoch; 0 for all of the grid.
        vary: other bands, gains, blurs and noise for each scene (subspace); the network is then told of blur and noise.
        msi: a sharper image beside each scene, for networks that fuse.
        generated: scenes besides those of `train`. In the domain of bands they have those of `train`, and none is a
            photograph.
        augment: ``"none"``, ``"rotations"`` (by 90°) or ``"all"`` eight rotations and flips.
        gain: spread of the logarithm of gains that the bands of each patch are given (domain of bands).
        balance: weigh each band's error by the inverse of its contrast, as PSNR per band does (domain of bands).
        share: of the ground of the training scenes that patches are cut from; a smaller one is part of a larger one.
    """

    root: str = "."
    train: list[str] = Field(min_length=1)
    validation: list[str] = []
    test: list[str] = []
    block: BlockSplit | None = None
    scale: Annotated[int, Field(ge=2, le=8)]
    degradation: str = "bicubic"
    crop_then_degrade: bool = False
    domain: Literal["bands", "subspace"] = "bands"
    components: _Positive = 8
    divisor: Annotated[float, Field(gt=0, le=1)] = 0.999
    drop_noisy_db: float | None = None
    patch: _Positive = 64
    stride: Annotated[int, Field(ge=0)] = 0
    per_epoch: Annotated[int, Field(ge=0)] = 1000
    augment: Literal["none", "rotations", "all"] = "all"
    gain: Annotated[float, Field(ge=0, lt=2)] = 0.0
    balance: bool = False
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    vary: VaryConfig | None = None
    msi: MsiConfig | None = None
    generated: GeneratedConfig | None = None

    @model_validator(mode="after")
    def _fits(self) -> DataConfig:
        parse_psf(self.degradation)
        if self.patch % self.scale or (self.stride % self.scale and not self.crop_then_degrade):
            raise ValueError(f"patch and stride must be multiples of the scale {self.scale}")
        if self.vary is not None and (self.domain != "subspace" or self.crop_then_degrade):
            raise ValueError('vary needs domain = "subspace" and scenes that are degraded whole')
        if self.msi is not None and self.crop_then_degrade:
            raise ValueError("msi needs scenes that are degraded whole; leave out crop_then_degrade")
        if self.msi is not None and self.msi.draft and self.domain != "subspace":
            raise ValueError('msi.draft needs domain = "subspace"')
        if self.msi is not None and self.vary is not None and (self.vary.describe or self.vary.change):
            raise ValueError("networks that fuse are told nothing and give the image: vary.describe and change = false")
        if (self.gain or self.balance) and (self.domain != "bands" or self.msi is not None):
            raise ValueError('gain and balance need domain = "bands" and no msi; eigenimages have both by data.vary')
        if not self.stride and not self.per_epoch:
            raise ValueError("random places need per_epoch, the number of patches")
        return self

    @property
    def msi_channels(self) -> int | None:
        """Channels of the MSI that a network takes; None where there is none."""
        if self.msi is None:
            return None
        return self.components if self.msi.draft else self.msi.bands


class ObjectiveConfig(Section):
    """What is minimised.

    Attributes:
        kind: ``"supervised"``, ``"distilled"`` or ``"edge"``.
        loss: term to weight of the data loss.
        teacher: checkpoint of the teacher; `hypersharp distill --teacher` fills it in.
        distil_loss: terms between student and teacher.
        alpha: weight of the distillation at the start.
        decay: factor on it …
        every: … after this many epochs.
        taps: submodules of student and teacher to compare; none for the SR images.
        features: weight of the cross entropy between features of student and teacher (CSAKD's) …
        feature_taps: … the submodules of each that give them.
        together: a teacher that learns in the same steps as the student, in place of a checkpoint.
        edge_taps: the spec's tap of the stages that the edge branch teaches.
        learnable: let the weights of EDLGFS's terms learn.
        detach: let the edge branch teach the network and not the reverse.
    """

    kind: Literal["supervised", "distilled", "edge"] = "supervised"
    loss: Loss = H_LOSS
    teacher: str | None = None
    distil_loss: Loss = KD_LOSS
    alpha: Annotated[float, Field(ge=0)] = 0.01
    decay: Annotated[float, Field(gt=0, le=1)] = 0.66
    every: _Positive = 10
    taps: tuple[str, str] | None = None
    features: Annotated[float, Field(ge=0)] = 0.0
    feature_taps: tuple[str, str] | None = None
    together: ModelConfig | None = None
    edge_taps: str = "stages"
    learnable: bool = True
    detach: bool = False

    @model_validator(mode="after")
    def _known(self) -> ObjectiveConfig:
        for loss in (self.loss, self.distil_loss):
            for name in loss:
                if name not in TERMS:
                    raise ValueError(f"expected a term out of {', '.join(TERMS)}, got {name!r}{nearest(name, TERMS)}")
        if not any(self.loss.values()):
            raise ValueError("at least one term needs a weight")
        if self.features and self.feature_taps is None:
            raise ValueError("features need feature_taps, the parts of student and teacher that give them")
        if self.together is not None and self.teacher is not None:
            raise ValueError("a teacher is either a checkpoint (teacher) or learns (together)")
        return self


class TrainConfig(Section):
    """How it is minimised.

    Attributes:
        epochs: passes over `data.per_epoch` patches.
        minutes: after which the run ends with the step at hand, validated and written like any other; 0 for no limit.
            Schedules follow `epochs` all the same.
        batch: patches per step, over all processes.
        optimiser: ``"adam"``, ``"adamw"``, or ``"sgd"`` with momentum 0.9.
        lr: learning rate after the warm-up.
        lr_end: learning rate at the end (cosine).
        schedule: ``"constant"``, ``"cosine"`` or ``"step"``.
        step_every: epochs between two steps.
        step_factor: of the learning rate at a step.
        warm_up: steps over which the learning rate rises from 0.
        weight_decay: of the optimiser.
        clip: largest norm of the gradient; 0 for none.
        ema: decay of the averaged weights, which are those that are validated and kept; 0 for none.
        validate_every: epochs between two validations; the last epoch is always validated.
        metric: of the protocol *ours*, decides which weights are best.
        patience: validations without a better one after which the run stops; 0 for none.
        save_every: steps between two states to resume from, besides the end of every epoch.
        log_every: steps between two lines of the log.
        tensorboard: write the log for TensorBoard, too.
        tile: side of the tiles of validation in LR pixels.
        start: ``"random"`` weights as published, or ``"bicubic"``: the last layer at zero, so that a short run does not
            spend itself on getting as far as its skip.
        precision: as Lightning Fabric takes it.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    epochs: _Positive
    minutes: Annotated[float, Field(ge=0)] = 0.0
    batch: _Positive = 16
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    lr_end: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "step"] = "constant"
    step_every: _Positive = 30
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    warm_up: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(ge=0)] = 0.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    validate_every: _Positive = 1
    metric: Literal["mpsnr_db", "mssim", "sam_deg", "cc", "rmse", "ergas"] = "mpsnr_db"
    patience: Annotated[int, Field(ge=0)] = 0
    save_every: Annotated[int, Field(ge=0)] = 0
    log_every: _Positive = 20
    tensorboard: bool = False
    tile: _Positive = 64
    start: Literal["random", "bicubic"] = "random"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    device: Literal["auto", "cpu", "cuda"] = "auto"


class RunConfig(Section):
    """A whole recipe.

    Attributes:
        about: what this is, for people; the source of its settings.
        seed: of everything that is drawn.
        model: which network.
        data: which pixels.
        objective: what is minimised.
        train: how.
    """

    about: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    model: ModelConfig
    data: DataConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    train: TrainConfig


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe, TOML or the JSON that a run saves.

    Args:
        path: the file.
        overrides: ``"train.epochs=5"`` and the like; values as in TOML, bare words as text.

    Raises:
        FileFormatError: the file is missing or neither.
        UsageError: a key is unknown, or a value of the wrong kind.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        raw = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise FileFormatError(f"{file}: cannot be read ({error.strerror or error}); check the path") from None
    except ValueError as error:  # TOML, JSON and decoding errors alike
        raise FileFormatError(f"{file.name}: not a recipe that can be read ({error})") from None
    if not isinstance(raw, dict):
        raise FileFormatError(f"{file.name}: expected a table of settings, got {raw!r:.40}; give a recipe")
    for override in overrides:
        set_value(raw, override)
    return parse_config(raw, file.name)


def parse_config(raw: dict[str, Any], where: str) -> RunConfig:
    """A recipe from plain values.

    Raises:
        UsageError: a key is unknown, or a value of the wrong kind; `where` is named.
    """
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{where}: {explained(error, RunConfig)}") from None


def parse_data(raw: dict[str, Any], where: str) -> DataConfig:
    """The table [data] of a recipe from plain values.

    Raises:
        UsageError: a key is unknown, or a value of the wrong kind; `where` is named.
    """
    try:
        return DataConfig.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{where}: {explained(error, RunConfig, above=('data',))}") from None
