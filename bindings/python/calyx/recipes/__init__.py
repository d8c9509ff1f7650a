"""The recipes that calyx brings along, without a market: computed here and now, in this process.

As a job's recipe each is paid for and has a receipt; here it is a function, with the same results.
"""

from __future__ import annotations

from . import packing, prop_amm

__all__ = ["packing", "prop_amm"]
