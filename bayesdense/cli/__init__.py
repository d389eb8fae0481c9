"""The command line; heavy libraries load inside the verbs: `--help` and `list` are quick."""

from bayesdense.cli.app import main as main
