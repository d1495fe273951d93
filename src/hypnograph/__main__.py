"""``python -m hypnograph`` is the command line."""

from hypnograph.cli import main

main()
