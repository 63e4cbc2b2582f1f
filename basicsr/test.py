"""The original project's command for testing: python basicsr/test.py -opt FILE. The same as `bgai test`."""

import sys

from bgai.__main__ import main

if __name__ == "__main__":
    main(["test", *sys.argv[1:]])
