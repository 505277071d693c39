"""`python -m training.compact --data DIR --output DIR`: make the compact bundle from the data folder."""

import argparse
from pathlib import Path

import torch

from training.compact.build import build, reconnect
from training.compact.plan import FULL, QUICK


def main() -> None:
    """Parse the arguments and build."""
    parser = argparse.ArgumentParser(prog="python -m training.compact", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--output", type=Path, default=Path("connectors/bundles/compact"))
    parser.add_argument(
        "--work", type=Path, default=Path("runs/compact"), help="intermediate results; reused"
    )
    parser.add_argument("--quick", action="store_true", help="the same steps, far too short")
    parser.add_argument(
        "--connect", action="store_true", help="keep the encoders in the output; connect and measure anew"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(min(2, torch.get_num_threads()))
    plan = QUICK if arguments.quick else FULL
    make = reconnect if arguments.connect else build
    make(arguments.data.resolve(), arguments.output, arguments.work, plan)


if __name__ == "__main__":
    main()
