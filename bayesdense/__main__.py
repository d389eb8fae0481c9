"""`python -m bayesdense` is the command line."""

from bayesdense.cli import main

if __name__ == "__main__":
    main()
