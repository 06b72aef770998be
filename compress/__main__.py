"""`python -m compress` is `compress`."""

from compress.cli import main

if __name__ == "__main__":
    main()
