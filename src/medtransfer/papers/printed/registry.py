"""Registry of the papers that are replayed from printed tables. To add one, write its claims and data, and add one line."""

from medtransfer.papers.printed.paper import Paper
from medtransfer.registry import Registry

PAPERS: Registry[Paper] = Registry({
    "dippel": "medtransfer.papers.printed.dippel2022:PAPER",
    "hosseinzadeh-taher": "medtransfer.papers.printed.hosseinzadeh_taher2021:PAPER",
    "truong": "medtransfer.papers.printed.truong2021:PAPER",
})  # fmt: skip
