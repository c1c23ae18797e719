"""A scene as a network sees it: its bands normalised, or the eigenimages of its own LR cube; and whole-scene scores.

Everything is fitted on the degraded whole scene by the code that users' scenes go through, never on HR or a patch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from hypersharp.cube import Bands, normalise
from hypersharp.cube.source import array_source
from hypersharp.data.generate import GenerateConfig, generate
from hypersharp.data.patches import Pair
from hypersharp.data.scenes import Scene, common_bands, find_scenes, load_scene
from hypersharp.data.split import split_block
from hypersharp.degrade.psf import parse_psf
from hypersharp.errors import NoDataError, UsageError
from hypersharp.fusion.network import Guided, network_spec, whole_scene
from hypersharp.infer import subspace
from hypersharp.infer.fit import SceneFit, fit_consistency, fit_scene
from hypersharp.infer.methods import Bicubic, Method
from hypersharp.infer.network import method_for
from hypersharp.infer.session import Session
from hypersharp.infer.sharpen import Sharpened, halo_of
from hypersharp.infer.tiles import plan
from hypersharp.metrics import evaluate_arrays, get_protocol
from hypersharp.operators import Separable
from hypersharp.train.config import DataConfig
from hypersharp.train.instances import Instance, instances
from hypersharp.train.losses import BANDS, Space
from hypersharp.train.pairs import Observed, held_pair, pairs

MEAN = "mean"
METRICS = ("mpsnr_db", "mssim", "sam_deg", "cc", "rmse", "ergas")


@dataclass(frozen=True, eq=False)
class Material:
    """What a run trains on.

    Attributes:
        pairs: the training scenes.
        space: of all scenes, one row each; `Space()` where channels are bands.
        channels: that the network gives.
        described: that it takes besides.
        validation: whole scenes.
        test: whole scenes that training never sees.
        wavelength_nm: of the bands in the domain of bands, where known.
        scenes: name, shape and bands of the file of all that were read, as plain lists.
    """

    pairs: list[Pair]
    space: Space
    channels: int
    described: int
    validation: list[Held]
    test: list[Held]
    wavelength_nm: tuple[float, ...] | None
    scenes: list[list[Any]]

    def space_of(self, scene: Tensor) -> Space:
        """The space of a batch from its `(N,)` scenes."""
        return Space(*(None if part is None else part[scene] for part in self.space))


def load_material(data: DataConfig, device: torch.device, *, seed: int) -> Material:
    """Read, split, degrade and normalise the scenes of a recipe; the seed is of what is generated and varied.

    Raises:
        FileFormatError: a scene does not exist or cannot be read.
        UsageError: the scenes do not fit each other or the recipe.
    """
    train, held, test = _load_all(data)
    if data.domain == "bands":
        both = common_bands([*train, *held, *test])
        train, held, test = (
            both[: len(train)],
            both[len(train) : len(train) + len(held)],
            both[len(train) + len(held) :],
        )
    if data.block is not None:
        block = data.block
        parts = [split_block(s.hr.shape[1:], side=block.side, size=block.size, gap=block.gap) for s in train]
        held += [scene.part(validation) for scene, (_, validation) in zip(train, parts, strict=True)]
        train = [scene.part(training) for scene, (training, _) in zip(train, parts, strict=True)]
    made = _generated(data, train, seed)
    train, made, held, test = ([scene.fitted(data.scale) for scene in part] for part in (train, made, held, test))
    if data.msi is not None:
        prepared = [_on(device, one) for one in pairs(train, made, data, seed=seed)]
    elif data.vary is None:
        prepared = [_prepare(scene, data, device) for scene in [*train, *made]]
    else:
        prepared = [_on(device, one) for one in instances(train, made, data, data.vary, seed=seed)]
    waves = train[0].wavelength_nm
    space = BANDS
    if data.domain == "subspace":
        space = Space(torch.stack([one.weight for one in prepared]), torch.stack([one.gram for one in prepared]))
    elif data.balance:
        space = Space(_balance([one.pair for one in prepared]))
    return Material(
        [one.pair for one in prepared],
        space,
        prepared[0].pair.hr.shape[0],
        prepared[0].pair.lr.shape[0] - prepared[0].pair.hr.shape[0],
        [Held.of(scene, data) for scene in held],
        [Held.of(scene, data) for scene in test],
        None if waves is None or data.domain != "bands" else tuple(float(nm) for nm in waves),
        [[scene.name, list(scene.hr.shape), scene.kept.tolist()] for scene in [*train, *held, *test]],
    )


def _balance(pairs: Sequence[Pair]) -> Tensor:
    """`(S, C)`, alike for all scenes: one over each band's contrast, of mean 1; faint bands within a hundredfold."""
    spread = torch.stack([pair.hr.flatten(1).std(dim=1) for pair in pairs]).mean(dim=0)
    weight = 1 / spread.clamp_min(0.01 * float(spread.max()))
    return (weight / weight.mean()).repeat(len(pairs), 1)


def patch_operator(data: DataConfig) -> Separable | None:
    """How a patch is degraded where patches are cut first; None where the whole scene is."""
    if not data.crop_then_degrade:
        return None
    return parse_psf(data.degradation).operator((data.patch, data.patch), data.scale)


def _load_all(data: DataConfig) -> tuple[list[Scene], list[Scene], list[Scene]]:
    """Scenes to train on, to validate and to test, no file in two of them."""
    paths = {
        "train": find_scenes(data.root, data.train),
        "validation": find_scenes(data.root, data.validation),
        "test": find_scenes(data.root, data.test),
    }
    seen: dict[Path, str] = {}
    for part, files in paths.items():
        for path in files:
            before = seen.setdefault(path.resolve(), part)
            if before != part:
                raise UsageError(
                    f"{path.stem} is under data.{before} and is to be scored under data.{part}; it can only be in one"
                )
    blocks = paths["train"] if data.block is not None else []
    for part, files in (("validation", [*paths["validation"], *blocks]), ("test", paths["test"])):
        _check_names(part, files)
    train, held, test = ([load_scene(path, drop_noisy_db=data.drop_noisy_db) for path in paths[part]] for part in paths)
    return train, held, test


def _check_names(part: str, files: Sequence[Path]) -> None:
    """Refuse scenes whose scores would have one name."""
    names = [path.stem for path in files]
    for at, name in enumerate(names):
        if name == MEAN:
            raise UsageError(f"data.{part} has a scene called {MEAN}, as the mean of the scores is; rename its file")
        if name in names[:at]:
            raise UsageError(
                f"data.{part} has two scenes called {name}: {files[names.index(name)]} and {files[at]}; rename one"
            )


def _generated(data: DataConfig, train: Sequence[Scene], seed: int) -> list[Scene]:
    """Generated scenes, with the spectra of the training scenes."""
    if data.generated is None:
        return []
    wanted = data.generated.model_dump()
    if data.domain == "bands":
        wanted |= {"bands": len(train[0].hr), "photographs": False, "synthetic": 0.0}
    photographs = wanted.pop("photographs")
    config = GenerateConfig(
        photographs=photographs if isinstance(photographs, bool) else tuple(photographs),
        shrink=tuple(wanted.pop("shrink")),
        **wanted,
    )
    return [one for one in generate(config, train, seed=seed) if min(one.hr.shape[1:]) >= data.patch + data.scale]


def _on(device: torch.device, one: Instance) -> Instance:
    msi = None if one.pair.msi is None else one.pair.msi.to(device)
    pair = replace(one.pair, lr=one.pair.lr.to(device), hr=one.pair.hr.to(device), msi=msi)
    return Instance(pair, one.weight.to(device), one.gram.to(device))


def _prepare(scene: Scene, data: DataConfig, device: torch.device) -> Instance:
    """One scene as it is; weights and Gram matrix are empty where channels are bands."""
    operator = parse_psf(data.degradation).operator(scene.hr.shape[1:], data.scale)
    hr = torch.from_numpy(np.ascontiguousarray(scene.hr)).to(device)
    lr = operator.apply(hr)
    fitted = _fit(lr.cpu().numpy(), scene.valid, data.scale)
    valid = scene.valid
    if not valid.all():  # a patch near a hole would see an LR pixel that the hole is in
        valid = ~ndimage.binary_dilation(~valid, np.ones((3, 3), bool), iterations=operator.halo * data.scale)
    if data.domain == "bands":
        normal = normalise.fit(fitted.pieces, quantile=data.divisor)
        pair = Pair(scene.name, (lr - normal.offset) / normal.divisor, (hr - normal.offset) / normal.divisor, valid)
        return Instance(pair, torch.zeros(0), torch.zeros(0))
    space = subspace.of_scene(fitted, count=data.components)
    project, mean = (torch.from_numpy(part).float().to(device) for part in (space.project, space.mean))
    low, high = (torch.einsum("kc,chw->khw", project, part - mean[:, None, None]) for part in (lr, hr))
    spread = space.spread()
    weight = torch.from_numpy(spread / spread.mean()).float().to(device)
    return Instance(Pair(scene.name, low, high, valid), weight, torch.from_numpy(space.gram()).float().to(device))


def _fit(lr: NDArray[np.float32], valid_hr: NDArray[np.bool_], scale: int) -> SceneFit:
    """As a user's LR scene is fitted; LR pixels that hold an invalid HR pixel are invalid."""
    height, width = lr.shape[1:]
    whole = valid_hr.reshape(height, scale, width, scale).all(axis=(1, 3))
    return fit_scene(array_source(np.where(whole, lr, np.nan).astype(np.float32)))


@dataclass(frozen=True, eq=False)
class Held:
    """A scene for validation with its LR cube.

    Attributes:
        scene: the HR scene.
        lr: `(C, h, w)` physical.
        fit: of the LR scene.
        scale: HR pixels per LR pixel along a side.
        operator: how the HR scene was degraded.
        pair: cube and MSI, for networks that fuse; else None.
    """

    scene: Scene
    lr: NDArray[np.float32]
    fit: SceneFit
    scale: int
    operator: Separable
    pair: Observed | None = None

    @classmethod
    def of(cls, scene: Scene, data: DataConfig) -> Held:
        """Degrade a scene as the recipe says.

        Raises:
            UsageError: in the subspace, its LR pixels are too few for eigenimages.
        """
        operator = parse_psf(data.degradation).operator(scene.hr.shape[1:], data.scale)
        if data.msi is not None:
            pair = held_pair(scene, data)
            held = cls(scene, pair.lr, pair.fit, data.scale, operator, pair)
        else:
            lr = operator.apply(scene.hr)
            held = cls(scene, lr, _fit(lr, scene.valid, data.scale), data.scale, operator)
        if data.domain == "subspace":  # known before the training rather than at its end
            try:
                subspace.of_scene(held.fit, count=data.components)
            except NoDataError:
                rows, cols = held.lr.shape[1:]
                raise UsageError(
                    f"{scene.name} has {rows} x {cols} LR pixels at x{data.scale}, too few of them valid for "
                    "eigenimages; leave it out of data.validation and data.test"
                ) from None
        return held

    def sharpened(self, session: Session | None, *, tile: int, consistency: str = "off") -> NDArray[np.float32]:
        """The whole scene, sharpened by the code that users call; no session for bicubic."""
        source = array_source(self.lr)
        bands = Bands(len(self.lr), self.scene.wavelength_nm)
        if session is not None and self.pair is not None:
            known = self.pair.calibration
            fuse = network_spec(session, bands).fit(self.pair.windows(), known)
            guided = Guided.of(fuse, session, array_source(self.pair.msi), known, np.arange(len(self.lr)))
            made, _ = whole_scene(guided, source, self.fit, tile=(tile, tile), consistency=consistency)
            return made.read(slice(None), slice(None), slice(None))[0]
        method: Method = Bicubic.of(self.lr.shape[1:], self.scale)
        if session is not None:
            method = method_for(session, source, bands, self.fit, operator=self.operator, tile=tile)
        follow = fit_consistency(self.fit, method, self.operator, mode=consistency)
        halo = halo_of(method.halo or 0, follow, complete=source.complete)
        tiles = plan(self.lr.shape[1:], tile=tile, halo=halo, scale=self.scale)
        return Sharpened(source, method, follow, tiles).read(slice(None), slice(None), slice(None))[0]

    def score(self, session: Session | None, *, tile: int, consistency: str = "off") -> dict[str, float]:
        """Scores of the whole scene; see `sharpened`."""
        sharp = self.sharpened(session, tile=tile, consistency=consistency)
        protocol = get_protocol("ours").only(METRICS)
        (scored,) = evaluate_arrays(self.scene.hr, sharp, [protocol], scale=self.scale, valid=self.scene.valid)
        return {name: float("nan") if one.value is None else one.value for name, one in scored.scores.items()}


def score_all(
    held: Sequence[Held], session: Session | None, *, tile: int, consistency: str = "off"
) -> dict[str, dict[str, float]]:
    """Scores of each scene by name, and their mean under ``"mean"``."""
    table: dict[str, dict[str, float]] = {
        one.scene.name: one.score(session, tile=tile, consistency=consistency) for one in held
    }
    return table | {MEAN: mean_of(table)}


def mean_of(table: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The mean of each metric over scenes."""
    return {name: float(np.mean([scores[name] for scores in table.values()])) for name in METRICS}
