"""Cut DIV2K, below datasets/, into the sub-images that training reads: `bgai prepare` with its usual folders."""

import sys

from bgai.__main__ import main

if __name__ == "__main__":
    main(["prepare", "datasets/DIV2K/DIV2K_train_HR", *sys.argv[1:]])
