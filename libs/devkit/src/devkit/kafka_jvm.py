"""How the broker's JVM is called. Its classes come from an archive in the cache, which halves the CPU time of a start.

The archive is made once, by a broker that starts and stops for it, and is kept by Kafka's version and the Java that made it. Source: JEP 350.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from devkit.workspace import root

_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")


def java_command(jars: Path, *flags: str, archive_to: Path | None = None) -> list[str]:
    """Return the words that start Java on these jars; `archive_to` has it write its classes there at its end, instead of using the archive."""
    logging = root() / "tools" / "kafka" / "log4j2.properties"
    archive = class_archive(jars)
    classes = [f"-XX:ArchiveClassesAtExit={archive_to}"] if archive_to else []
    if archive_to is None and archive.exists():
        classes = [f"-XX:SharedArchiveFile={archive}"]
    return [str(_java()), *_FLAGS, *classes, *flags, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]


def class_archive(jars: Path) -> Path:
    """Return where the archive of these jars' classes is, or has to be."""
    java = _java().resolve()
    made_by = hashlib.sha256(f"{java} {java.stat().st_mtime_ns}".encode()).hexdigest()[:8]
    return jars.parent / f"{jars.name}-{made_by}.jsa"


def make_archive(jars: Path, run_broker: Callable[[Path], None], say: Callable[[str], None]) -> None:
    """Make the archive if there is none; `run_broker` starts and stops a broker that writes it to the path it is given."""
    archive = class_archive(jars)
    if archive.exists():
        return
    with (jars.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            say("archiving the broker's classes, once, so that it starts faster")
            unfinished = archive.with_suffix(f".{os.getpid()}")
            run_broker(unfinished)
            if unfinished.exists():
                unfinished.rename(archive)


def _java() -> Path:
    home = os.environ.get("JAVA_HOME")
    found = Path(home, "bin", "java") if home else shutil.which("java")
    if found is None:
        raise FileNotFoundError("Java 17 is needed to run Apache Kafka (Debian: openjdk-17-jre-headless)")
    return Path(found)
