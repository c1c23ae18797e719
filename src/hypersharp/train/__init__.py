"""Training and distilling the networks of `models`; the rooms that need torch besides them."""
