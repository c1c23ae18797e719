"""Pictures: the only room with matplotlib and bokeh. Nothing here needs a screen or changes a global setting."""

from hypersharp.figures.maps import draw_map
from hypersharp.figures.side_by_side import FALSE_COLOUR_NM, NATURAL_NM, colour_bands, side_by_side

__all__ = ["FALSE_COLOUR_NM", "NATURAL_NM", "colour_bands", "draw_map", "side_by_side"]
