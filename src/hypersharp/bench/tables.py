"""Rows as Markdown, LaTeX and CSV, in the column order of the papers; the best is bold, the second underlined."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypersharp.bench.rows import BICUBIC, Row
from hypersharp.train.domain import METRICS

_MISSING = "-"
_LOWER_IS_BETTER = ("sam_deg", "rmse", "ergas")
_TITLES = {
    "mpsnr_db": "MPSNR (dB)",
    "mssim": "MSSIM",
    "sam_deg": "SAM (°)",
    "cc": "CC",
    "rmse": "RMSE",
    "ergas": "ERGAS",
}


@dataclass(frozen=True)
class _Markup:
    """How a kind of text sets what stands out."""

    best: Callable[[str], str]
    second: Callable[[str], str]
    plus_minus: str
    up: str
    down: str
    text: Callable[[str], str]


_TEX = str.maketrans(
    {char: rf"\{char}" for char in "&%$#{}_"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "°": r"$^\circ$"}
)


def _in_markdown(text: str) -> str:
    """Text as a cell shows it."""
    return " ".join(text.split()).replace("|", r"\|")


def _in_latex(text: str) -> str:
    """Text with nothing in it that LaTeX takes for its own."""
    return " ".join(text.split()).translate(_TEX)


_MARKDOWN = _Markup(lambda text: f"**{text}**", lambda text: f"<u>{text}</u>", " ± ", " ↑", " ↓", _in_markdown)
_LATEX = _Markup(
    lambda text: rf"\textbf{{{text}}}",
    lambda text: rf"\underline{{{text}}}",
    r" $\pm$ ",
    r" $\uparrow$",
    r" $\downarrow$",
    _in_latex,
)


def markdown(rows: Sequence[Row], *, about: Sequence[str] = ()) -> str:
    """Every group of scenes as a table, without and with consistency, below what is to be said about all.

    Args:
        rows: as `rows.rows_of` gives them.
        about: paragraphs above the tables.
    """
    parts = list(about)
    for group, kind, chosen in _tables(rows):
        lines = [
            _header(_MARKDOWN),
            ["---", *["---:"] * (len(_header(_MARKDOWN)) - 1)],
            *_body(chosen, group, _MARKDOWN),
        ]
        parts += [f"**{_title(group, kind)}**", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    notes = "\n".join(f"- {note}" for note in _notes(rows))
    return "\n\n".join([*parts, notes] if notes else parts) + "\n"


def latex(rows: Sequence[Row], *, about: Sequence[str] = ()) -> str:
    """The same as LaTeX tables, for `booktabs`; what is said about them stands in comments."""
    columns = len(_header(_LATEX))
    parts = [f"% {_plain(line)}" for line in (*about, *_notes(rows))]
    for group, kind, chosen in _tables(rows):
        body = [_cells(line) for line in _body(chosen, group, _LATEX)]
        parts += [
            r"\begin{table}",
            rf"\caption{{{_in_latex(_title(group, kind))}}}",
            rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}",
            r"\toprule",
            _cells(_header(_LATEX)),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(parts) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """Every number in full: one line per row and group of scenes."""
    text = io.StringIO()
    measured = [name for metric in METRICS for name in (metric, f"{metric}_spread")]
    names = ["group", "method", "consistency", "parameters", "macs", *measured]
    names += ["seconds_per_megapixel", "seeds", "patches", "notes"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        for group in row.groups():
            line: dict[str, object] = {"group": group, "method": row.name, "consistency": row.consistency}
            line |= {"parameters": row.parameters, "macs": row.macs, "seconds_per_megapixel": row.seconds}
            for metric in METRICS:
                line |= {metric: row.mean(group, metric), f"{metric}_spread": row.spread(group, metric)}
            line |= {"seeds": len(row.means), "patches": " ".join(map(str, row.patches)), "notes": "; ".join(row.notes)}
            writer.writerow(line)
    return text.getvalue()


def _tables(rows: Sequence[Row]) -> list[tuple[str, bool, list[Row]]]:
    """Group, consistency and rows of each table; the two rows of bicubic head every one."""
    bicubic = [row for row in rows if row.name == BICUBIC]
    found = []
    for group in bicubic[0].groups():
        for kind in (False, True):
            networks = [row for row in rows if row.name != BICUBIC and row.consistency == kind]
            if networks or not kind:
                found.append((group, kind, [*bicubic, *networks]))
    return found


def _title(group: str, kind: bool) -> str:
    return f"Mean over the {group} scenes, networks {'with' if kind else 'without'} consistency"


def _header(markup: _Markup) -> list[str]:
    measured = [
        markup.text(_TITLES[name]) + (markup.down if name in _LOWER_IS_BETTER else markup.up) for name in METRICS
    ]
    return ["Method", "Params (M)", "MACs (G)", *measured, "s / Mpixel"]


def _body(rows: Sequence[Row], group: str, markup: _Markup) -> list[list[str]]:
    """The cells of each row. Two values that print alike are marked alike."""
    columns = [_column(rows, group, metric, markup) for metric in METRICS]
    return [
        [
            markup.text(row.title),
            _number(row.parameters, 1e6, ".3f"),
            _number(row.macs, 1e9, ".3f"),
            *(column[at] for column in columns),
            _number(row.seconds, 1, ".3g"),
        ]
        for at, row in enumerate(rows)
    ]


def _column(rows: Sequence[Row], group: str, metric: str, markup: _Markup) -> list[str]:
    values = [row.mean(group, metric) for row in rows]
    shown = [_digits(value, _decimals(value, metric)) for value in values]
    known = {text: value for text, value in zip(shown, values, strict=True) if math.isfinite(value)}
    ranked = sorted(known, key=lambda text: known[text], reverse=metric not in _LOWER_IS_BETTER)
    marks = dict(zip(ranked, (markup.best, markup.second), strict=False))
    cells = []
    for row, value, text in zip(rows, values, shown, strict=True):
        spread = row.spread(group, metric)
        after = ""
        if spread is not None and math.isfinite(spread):
            after = markup.plus_minus + _digits(spread, _decimals(value, metric))
        cells.append(marks.get(text, str)(text) + after)
    return cells


def _decimals(value: float, metric: str) -> int:
    """Four, as in the papers; for RMSE, which is in the unit of the scenes, four digits in all."""
    if metric != "rmse" or not math.isfinite(value) or value <= 0:
        return 4
    return min(6, max(0, 3 - math.floor(math.log10(value))))


def _digits(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else _MISSING


def _number(value: float | None, unit: float, form: str) -> str:
    return _MISSING if value is None else format(value / unit, form)


def _notes(rows: Sequence[Row]) -> list[str]:
    return [" ".join(f"{row.name}: {note}".split()) for row in rows if not row.consistency for note in row.notes]


def _cells(line: Sequence[str]) -> str:
    return " & ".join(line) + r" \\"


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").replace("**", "").split())
