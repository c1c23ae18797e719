"""Networks compared under one protocol and one budget: trained, scored, timed, and set as a table.

`run` trains and scores the networks of a `Plan`; `collect` makes the table of runs that are finished. Needs torch.
"""

from hypersharp.bench.plan import Plan
from hypersharp.bench.running import Comparison, collect, run

__all__ = ["Comparison", "Plan", "collect", "run"]
