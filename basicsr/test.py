"""The original project's command for testing: python basicsr/test.py -opt FILE. The same as `bgai test`."""

import sys

from bgai.cli.app import app

if __name__ == "__main__":
    app(["test", *sys.argv[1:]])
