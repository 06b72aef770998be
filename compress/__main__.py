"""Run `python -m compress` as the command `compress`."""

from compress.cli.main import main

if __name__ == "__main__":
    main()
