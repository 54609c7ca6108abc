"""`python -m tinytown` is `tt`."""

from tinytown.cli import main

if __name__ == "__main__":
    main()
