"""One line for each thing that happens to a watched order."""

from rich.text import Text

from millrace.cli.output import plain
from shopkit.show.progress import Happening

_STYLES = {
    "requested": "cyan",
    "pending": "cyan",
    "done": "green",
    "confirmed": "green",
    "completed": "bold green",
    "refused": "red",
    "timed_out": "red",
    "cancelling": "yellow",
    "compensating": "yellow",
    "compensated": "yellow",
    "cancelled": "bold yellow",
}


def happening_line(happening: Happening) -> Text:
    """Return a line such as `+0.041 s  charge_payment  done`; the order's own status has `order` as its step."""
    line = Text(f"  +{happening.after_seconds:.3f} s  ")
    line.append_text(Text(f"{plain(happening.step or 'order').plain:<18}"))
    line.append(f"{happening.state:<13}", style=_STYLES.get(happening.state, ""))
    line.append_text(plain(happening.detail))
    line.rstrip()
    return line
