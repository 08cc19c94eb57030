"""`python -m smartconnect.cli`: the same as `smart-connect`."""

from smartconnect.cli.main import main

main()
