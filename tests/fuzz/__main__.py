"""One seed again: ``PYTHONPATH=tests python -m fuzz graphs 1234``; a graph that fails is shrunk and printed."""

from __future__ import annotations

import sys

from fuzz import compiled, files, graphs


def main(name: str, seed: int) -> int:
    """Exit code 1 when the seed fails."""
    found = {"graphs": graphs, "files": files, "compiled": compiled}[name].report(seed)
    sys.stdout.write(found + "\n")
    return int(found != "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
