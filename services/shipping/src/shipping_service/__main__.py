"""Runs the shipping service: `python -m shipping_service`."""

from millrace.run import run
from millrace.settings import load
from shipping_service.bootstrap import parts
from shipping_service.config import read_config
from shopkit.service import assemble


def main() -> None:
    """Read the settings and run until SIGTERM; exit code 2 if they are not usable."""
    config = load(read_config)
    run(assemble(config.common, parts(config)))


if __name__ == "__main__":
    main()
