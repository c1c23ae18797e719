"""Pictures: the only room with matplotlib and bokeh. Nothing here needs a screen or changes a global setting."""

from hypersharp.figures.fusion_page import FusionPanels, fusion_page, fusion_panels
from hypersharp.figures.maps import draw_map
from hypersharp.figures.side_by_side import FALSE_COLOUR_NM, NATURAL_NM, colour_bands, side_by_side
from hypersharp.figures.singular_values import Cumulative, draw_singular_values

__all__ = [
    "FALSE_COLOUR_NM",
    "NATURAL_NM",
    "Cumulative",
    "FusionPanels",
    "colour_bands",
    "draw_map",
    "draw_singular_values",
    "fusion_page",
    "fusion_panels",
    "side_by_side",
]
