"""`python -m apprentice_workflows`: the command line."""

from apprentice_workflows.cli.app import main

main()
