"""Scenes for training: loaded, split without leaks, cut into patches; and the public data sets."""
