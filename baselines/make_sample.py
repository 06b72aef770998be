"""Draw the bundled sample anew: `python -m baselines.make_sample DATA` writes its two contact sheets."""

from __future__ import annotations

import argparse
from pathlib import Path

from baselines.cifar10_checks import FULL
from baselines.cifar10_files import VALIDATION_FRACTION
from baselines.cifar10_formats import open_copy
from baselines.cifar10_sample import FOLDER, write_sample


def main(words: list[str] | None = None) -> None:
    """Read the full CIFAR-10 at DATA and write the two contact sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the full CIFAR-10, in any form that --data takes")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    options = parser.parse_args(words)
    write_sample(options.out, open_copy(options.data, FULL), VALIDATION_FRACTION)


if __name__ == "__main__":
    main()
