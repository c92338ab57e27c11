"""The broker's jars in the cache, fetched once by Maven. Called by `devkit.kafka` and by `make setup`."""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from devkit.processes import Child, Children, ChildSpec, log_tail
from devkit.waiting import wait_until
from devkit.workspace import cache_dir, root


def kafka_jars(say: Callable[[str], None] = print) -> Path:
    """Return the folder of jars that tools/kafka/pom.xml names, fetched first if it is not in the cache.

    The folder appears at once or not at all; a second process that asks meanwhile waits for the first.
    """
    pom = root() / "tools" / "kafka" / "pom.xml"
    found = re.search(r"<kafka.version>(.+?)</kafka.version>", pom.read_text())
    if found is None:
        raise ValueError(f"{pom} names no kafka.version")
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:8]
    jars = cache_dir() / f"kafka-{found[1]}-{digest}"
    if jars.is_dir():
        return jars
    with (cache_dir() / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            _fetch(pom, jars, say)
    return jars


def _fetch(pom: Path, jars: Path, say: Callable[[str], None]) -> None:
    if shutil.which("mvn") is None or shutil.which("java") is None:
        raise FileNotFoundError("Java 17 and Maven are needed to fetch Apache Kafka (Debian: openjdk-17-jre-headless maven)")
    say(f"fetching Apache Kafka with Maven into {jars} (about 47 jars, 45 MB)")
    # Maven's own repository stays beside it, so that an interrupted download goes on where it was.
    repository = jars.parent / "maven"
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix=".kafka-") as scratch, Children() as children:
        log = Path(scratch) / "maven.log"
        target = Path(scratch) / "lib"
        words = ["mvn", "-B", "-C", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        words += [f"-DoutputDirectory={target}", f"-Dmaven.repo.local={repository}"]
        maven = children.start(ChildSpec(name="maven", argv=words, log_path=log, env={**os.environ, "MAVEN_ARGS": ""}))
        _follow(maven, log, say)
        if maven.process.returncode != 0 or not any(target.glob("kafka_*.jar")):
            raise RuntimeError(f"Maven could not fetch Apache Kafka:\n{log_tail(log)}")
        target.rename(jars)
    shutil.rmtree(repository, ignore_errors=True)
    say(f"fetched {sum(1 for _ in jars.iterdir())} jars")


def _follow(maven: Child, log: Path, say: Callable[[str], None]) -> None:
    told = 0

    def done() -> bool:
        nonlocal told
        count = log.read_text(errors="replace").count(".jar (")
        if count >= told + 20:
            told = count
            say(f"  {count} jars downloaded, plugins of Maven included")
        return not maven.alive

    wait_until(done, what="Maven's download", timeout_seconds=900, interval_seconds=0.3)
