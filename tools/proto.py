"""Generates Python code and docs/messages.md from proto/, and judges the contract: lint, breaking changes, stale code.

    tools/proto.py                    lint, refuse breaking changes, generate, renew proto/descriptor.binpb
    tools/proto.py --check            the same judgements, writing nothing; fails if what is committed is stale
    tools/proto.py --accept-breaking  as without, but a breaking change is let through and becomes the new base

Called by `make proto` and `make check`. Generated code is committed, so nobody needs these tools to run the shop.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from message_tables import render

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
IMAGE = PROTO / "descriptor.binpb"
TABLES = ROOT / "docs/messages.md"
BIN = Path(sys.executable).parent
TARGETS = {"shop": ROOT / "libs/contracts/src/shop", "millrace/v1": ROOT / "libs/millrace/src/millrace/v1"}


def buf(*arguments: str) -> bool:
    """Run buf in proto/ and say whether it was content. What it has to say goes to the terminal."""
    return subprocess.run([str(BIN / "buf"), *arguments], cwd=PROTO, check=False).returncode == 0


def generate(out: Path) -> None:
    """Write all generated code below `out`, by the layout of proto/. Exits with protoc's own words if it fails."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    plugins = {f"protoc-gen-{name}": BIN / f"protoc-gen-{name}" for name in ("mypy", "mypy_grpc")}
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc",
            f"--proto_path={PROTO}", f"--proto_path={files('grpc_tools') / '_proto'}",
            *(f"--plugin={name}={path}" for name, path in plugins.items()),
            f"--descriptor_set_out={out / 'sources.binpb'}", "--include_source_info", f"--python_out={out}", f"--mypy_out=quiet:{out}", f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}",
            *sources,
        ],
        check=True,
    )  # fmt: skip
    for source in sources:
        if "\nservice " not in (PROTO / source).read_text():
            for empty in out.glob(f"{source.removesuffix('.proto')}_pb2_grpc.py*"):
                empty.unlink()
    for folder in {path.parent for path in out.rglob("*_pb2.py")}:
        for package in (folder, *folder.parents):
            if package == out:
                break
            (package / "__init__.py").write_text('"""Generated from proto/ by tools/proto.py; never edited."""\n')
    (out / "shop/py.typed").touch()
    described = FileDescriptorSet.FromString((out / "sources.binpb").read_bytes())
    (out / TABLES.name).write_text(render(described))


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, caches left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def stale(out: Path) -> list[str]:
    """Name every committed file that is not what `out` says it should be, missing and superfluous ones too."""
    found = []
    for target, folder in TARGETS.items():
        fresh, committed = contents(out / target), contents(folder)
        found += [str((folder / name).relative_to(ROOT)) for name in fresh | committed if fresh.get(name) != committed.get(name)]
    if not TABLES.exists() or TABLES.read_bytes() != (out / TABLES.name).read_bytes():
        found.append(str(TABLES.relative_to(ROOT)))
    return sorted(found)


def install(out: Path) -> None:
    """Make the committed folders hold exactly what was generated."""
    TABLES.parent.mkdir(exist_ok=True)
    TABLES.write_bytes((out / TABLES.name).read_bytes())
    for target, folder in TARGETS.items():
        fresh = contents(out / target)
        for name in contents(folder).keys() - fresh.keys():
            (folder / name).unlink()
        for name, content in fresh.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def main() -> int:
    """Do what the arguments ask; 0 if the contract is in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if committed files are stale")
    parser.add_argument("--accept-breaking", action="store_true", help="let a breaking change through")
    options = parser.parse_args()

    if not buf("lint"):
        return 1
    if IMAGE.exists() and not options.accept_breaking and not buf("breaking", "--against", IMAGE.name):
        print("proto: this breaks readers of the present contract (proto/descriptor.binpb)", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        generate(out)
        image = out / IMAGE.name
        if not buf("build", "--exclude-source-info", "--output", str(image)):
            return 1
        if not options.check:
            install(out)
            IMAGE.write_bytes(image.read_bytes())
            return 0
        faults = stale(out)
        if not IMAGE.exists() or IMAGE.read_bytes() != image.read_bytes():
            faults.append(str(IMAGE.relative_to(ROOT)))
    for fault in faults:
        print(f"proto: {fault} is stale; run `make proto`", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
