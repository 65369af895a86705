"""Notebook 01's room: whether training and inference chunk a clip alike.

`evaluate` gives the notebook's answer; `compare`, `compare_at` and `compare_all` are its measures, the ``…_figure``
functions draw them. Names are imported on first use, so that `compare` needs no matplotlib.
"""

from importlib import import_module

_HOMES = {
    "answer": ["Difference", "evaluate"],
    "comparison": ["Comparison", "ValueDifference"],
    "figures": ["lag_figure", "rate_figure", "value_figure"],
    "measure": [
        "ComparisonMatrix",
        "compare",
        "compare_all",
        "compare_at",
        "lag_table",
        "make_features",
        "rate_table",
    ],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
