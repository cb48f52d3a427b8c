"""Entry point of the training contract: `python train_vae.py --help`."""

import sys

from ligandsmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main(command="train-vae"))
