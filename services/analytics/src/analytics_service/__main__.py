"""Runs the analytics service: `python -m analytics_service`."""

from analytics_service.bootstrap import parts
from analytics_service.config import read_config
from millrace.run import run
from millrace.settings import load
from shopkit.service import assemble


def main() -> None:
    """Read the settings and run until SIGTERM."""
    config = load(read_config)
    run(assemble(config.common, parts()))


if __name__ == "__main__":
    main()
