"""``python -m specgraph``."""

from specgraph.cli import main

if __name__ == "__main__":
    main()
