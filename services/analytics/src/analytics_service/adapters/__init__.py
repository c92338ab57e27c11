"""Analytics' query models: how they are written, and how they are read."""
