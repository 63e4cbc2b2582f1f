"""The original project's other name for training: python basicsr/train.py -opt FILE. The same as `bgai train`."""

import sys

from bgai.__main__ import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
