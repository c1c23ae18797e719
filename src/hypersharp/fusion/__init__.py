"""Fusion without training: an LR cube and a sharper multispectral or panchromatic image make an HR cube.

`methods/` holds one file per method, and is their registry; `calibrate` finds blur, shift, response and noise from the
pair itself; `auto` picks a method by the reduced-resolution test.
"""
