"""The original project's command for training: python train.py -opt FILE [--auto_resume]. The same as `bgai train`."""

import sys

from bgai.cli.app import app

if __name__ == "__main__":
    app(["train", *sys.argv[1:]])
