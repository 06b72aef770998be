"""`python -m compress` is `compress`."""

from compress.cli.main import main

if __name__ == "__main__":
    main()
