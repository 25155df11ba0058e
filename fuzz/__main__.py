"""``python -m fuzz TARGET --seconds N``: a target under atheris, for so long."""

from __future__ import annotations

import argparse
import sys
import tempfile

from .seeds import CORPUS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(folder.name for folder in CORPUS.iterdir()))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--keep", metavar="FOLDER", help="where new inputs are kept; without it they are not"
    )
    options = parser.parse_args()
    import atheris

    # The core and the reference are followed branch by branch; the twin in C is held to them.
    with atheris.instrument_imports(include=["websocket", "fuzz.targets"]):
        from .targets import TARGETS, TWINS

    print(f"{len(TWINS)} twins")
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [sys.argv[0], f"-max_total_time={options.seconds}", "-max_len=4096"]
        arguments += ["-print_final_stats=1", options.keep or scratch, str(CORPUS / options.target)]
        atheris.Setup(arguments, TARGETS[options.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
