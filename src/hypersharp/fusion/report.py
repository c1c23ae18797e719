"""What is said of a fusion: in its report, in the history of its cube, and as warnings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypersharp import _version
from hypersharp._require import require
from hypersharp.errors import UsageError, WriteError
from hypersharp.fusion._spec import Calibration
from hypersharp.fusion.auto import Choice
from hypersharp.fusion.calibrate import Calibrated
from hypersharp.io.warp import Nested

__all__ = ["check_beside", "check_report", "history_line", "ranges_of", "remarks", "report_of", "write_report"]

_ENDINGS = (".json", ".html")  # of a report: for programs, and a page for people


def remarks(nested: Nested, choice: Choice, calibration: Calibration) -> list[str]:
    """What a user should know of this fusion."""
    lines = []
    if "exp" in choice.methods and choice.gain_db:
        lines.append(f"nothing was better than the enlarged cube in some bands one scale down: {choice.words}")
    off = nested.offset_yx
    shift = max(map(abs, calibration.shift_yx))
    if nested.notes:
        dy, dx = calibration.shift_yx
        lines.append(f"the calibration finds {dy:+.2f}, {dx:+.2f} HR pixels (down, right) beside what the files say")
    if shift > nested.scale:
        lines.append(
            f"cube and MSI lie {shift:.1f} HR pixels apart; corrected, and along the border the cube knows so much less"
        )
    if off is None or any(off):
        lines.append(f"the MSI's pixels do not nest in the cube's: the MSI was resampled ({nested.resampling})")
    return lines


def check_beside(path: str | os.PathLike[str], option: str, endings: Sequence[str], *, overwrite: bool) -> None:
    """Refuse a file beside the cube that cannot or must not be written, before any work is done.

    Args:
        path: the file.
        option: what asks for it, for the message.
        endings: of which it has to have one.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: another ending.
        WriteError: no such folder, or the file exists.
    """
    target = Path(path)
    if target.suffix.lower() not in endings:
        raise UsageError(f"{option} writes a {' or '.join(endings)} file, got {target.name!r}")
    if not target.parent.is_dir():
        raise WriteError(f"expected an existing folder for {option}, got {str(target.parent)!r}; make it first")
    if target.exists() and not overwrite:
        raise WriteError(f"{str(target)!r} exists; say overwrite to replace it")


def check_report(path: str | os.PathLike[str], option: str, *, overwrite: bool) -> None:
    """Refuse a report that cannot or must not be written; see `check_beside`.

    Raises:
        MissingExtraError: it is a page, and matplotlib is not installed.
    """
    check_beside(path, option, _ENDINGS, overwrite=overwrite)
    if _is_page(Path(path)):
        require("matplotlib", "figures", "a report with pictures")


def write_report(path: str | os.PathLike[str], facts: dict[str, Any], *, page: Callable[[], str]) -> None:
    """Write a report, whole or not at all.

    Args:
        path: an `.html` file for a page, else JSON.
        facts: the report, with the name of the fused file, if there is one, as ``output``.
        page: makes the page; the room of pictures is above this one.

    Raises:
        WriteError: the file cannot be written; the fused one, which the message then names, stays.
    """
    target = Path(path)
    scratch = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        text = page() if _is_page(target) else json.dumps(facts, indent=1) + "\n"
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, target)
    except (OSError, WriteError) as error:
        scratch.unlink(missing_ok=True)
        why = (error.strerror if isinstance(error, OSError) else None) or error
        kept = f"; {facts['output']} is written" if facts.get("output") else ""
        raise WriteError(f"{target.name}: the report cannot be written ({why}){kept}") from None


def _is_page(path: Path) -> bool:
    return path.suffix.lower() == ".html"


def report_of(
    nested: Nested, calibrated: Calibrated, choice: Choice, live: NDArray[np.intp], notes: Sequence[str]
) -> dict[str, Any]:
    """All that is worth knowing of a fusion, as plain values for JSON; bands counted from 1."""
    lr, waves = nested.lr, nested.lr.bands.wavelength_nm
    extrapolated = live[~calibrated.calibration.supported]
    return {
        "hypersharp": _version.__version__,
        "scale": nested.scale,
        "cube_rows": list(nested.rows),
        "cube_cols": list(nested.cols),
        "output_shape": [lr.shape[0], *(n * nested.scale for n in lr.shape[1:])],
        "msi_bands": nested.msi.shape[0],
        "msi_resampling": nested.resampling,
        "msi_offset_yx": None if nested.offset_yx is None else [round(v, 4) for v in nested.offset_yx],
        "calibration": calibrated.to_dict(),
        "method": choice.words,
        "choice": choice.to_dict(),
        "bands_fused": len(live),
        "fused_wavelength_nm": None if waves is None else [float(w) if np.isfinite(w) else None for w in waves[live]],
        "bands_enlarged_only": [int(b) + 1 for b in np.setdiff1d(np.arange(lr.shape[0]), live)],
        "bands_extrapolated": [int(b) + 1 for b in extrapolated],
        "notes": list(notes),
        "history": history_line(nested, calibrated, choice, live),
    }


def history_line(nested: Nested, calibrated: Calibrated, choice: Choice, live: NDArray[np.intp]) -> str:
    """The line that goes into the history of a fused cube."""
    found = calibrated.calibration
    dy, dx = found.shift_yx
    files = [path.name for path in nested.msi.values.files]
    parts = [
        f"scale {nested.scale}",
        f"method {choice.words} ({choice.reason})",
        f"MSI of {nested.msi.shape[0]} bands" + (f" {files[0]}" if files else ""),
        f"degradation {found.psf} ({calibrated.psf_from})",
        f"shift {dy:+.2f},{dx:+.2f} HR pixels",
    ]
    if nested.resampling != "none":
        parts.append(f"MSI resampled ({nested.resampling})")
    lost = np.setdiff1d(np.arange(nested.lr.shape[0]), live)
    if lost.size:
        parts.append(f"bands only enlarged: {ranges_of(lost + 1)}")
    if not found.supported.all():
        parts.append(f"bands extrapolated: {ranges_of(live[~found.supported] + 1)}")
    return f"hypersharp {_version.__version__} fuse: {'; '.join(parts)}"


def ranges_of(numbers: NDArray[np.intp]) -> str:
    """Increasing whole numbers, at least one, in short: ``1-3, 7``."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
