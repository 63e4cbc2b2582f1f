"""The original project's command for training: python train.py -opt FILE [--auto_resume]. The same as `bgai train`."""

import sys

from bgai.__main__ import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
