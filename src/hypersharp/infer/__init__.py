"""From a lazy LR cube to a lazy sharpened one: sampling, tiles, methods, sessions, consistency."""
