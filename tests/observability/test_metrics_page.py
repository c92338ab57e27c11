"""docs/metrics.md lists exactly the metrics that Millrace has, with their types and labels."""

import pkgutil
from importlib import import_module
from inspect import getmembers, isclass, signature
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

import millrace

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def registries() -> list[CollectorRegistry]:
    """Return the global registry, and one for each class of the library that puts metrics into the registry it is given."""
    found = [REGISTRY]
    for module in pkgutil.walk_packages(millrace.__path__, "millrace."):
        if module.name.endswith("__main__"):
            continue
        loaded = import_module(module.name)
        for _, made in getmembers(loaded, lambda one: isclass(one) and one.__name__.endswith("Metrics")):
            parameters = list(signature(made).parameters.values())
            if made.__module__ == module.name and [p.annotation for p in parameters] == [CollectorRegistry]:
                made(registry := CollectorRegistry())
                found.append(registry)
    return found


def existing() -> set[tuple[str, str, tuple[str, ...]]]:
    """Return name, type and labels of every metric of Millrace."""
    found = set()
    for registry in registries():
        for collector in registry._collector_to_names:
            if isinstance(collector, MetricWrapperBase) and collector._name.startswith("millrace_"):
                name = collector._name + ("_total" if collector._type == "counter" else "")
                found.add((name, str(collector._type), tuple(collector._labelnames)))
    return found


def test_the_page_lists_exactly_the_metrics_there_are() -> None:
    cells = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]
    assert {len(row) for row in cells} == {5}
    listed = [(name, kind, tuple(label.strip(" `") for label in labels.split(","))) for name, kind, labels, _, _ in cells]
    assert len(listed) == len(set(listed))
    assert set(listed) == existing()
    assert all(meaning for _, _, _, meaning, _ in cells)
