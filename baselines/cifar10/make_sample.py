"""Draw the bundled sample again: `python -m baselines.cifar10.make_sample DATA` writes its two contact sheets."""

from __future__ import annotations

import argparse
from pathlib import Path

from baselines.cifar10.find import VALIDATION_FRACTION
from baselines.cifar10.formats import open_copy
from baselines.cifar10.sample import FOLDER, write_sample
from baselines.cifar10.spec import FULL


def main(words: list[str] | None = None) -> None:
    """Read the full CIFAR-10 at DATA and write the two contact sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the full CIFAR-10, in any form that --data takes")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    options = parser.parse_args(words)
    write_sample(options.out, open_copy(options.data, FULL), VALIDATION_FRACTION)


if __name__ == "__main__":
    main()
