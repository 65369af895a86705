"""``python -m musetools`` is the `musetools` command."""

from musetools.cli import main

if __name__ == "__main__":
    main()
