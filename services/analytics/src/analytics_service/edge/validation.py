"""Checks of analytics' requests; each raises Invalid that names every field at fault."""

import re

from millrace.edge.validation import Violations
from shop.analytics.v1 import analytics_service_pb2 as pb

_CURSOR = re.compile(r"([0-9]{1,18}) ([0-9]{1,18})\Z")


def read_page(request: pb.ListEventsRequest) -> tuple[tuple[int, int], int]:
    """Return the place a page begins behind, and its size."""
    found = Violations()
    if request.order_id:
        found.uuid("order_id", request.order_id)
    size = found.page_size("page_size", request.page_size)
    place = found.page_token("page_token", request.page_token)
    cursor = _CURSOR.match(place) if place else None
    if place:
        found.check("page_token", cursor is not None, "must be a token from an earlier answer")
    found.raise_if_any()
    return (int(cursor[1]), int(cursor[2])) if cursor else (0, 0), size
