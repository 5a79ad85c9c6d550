"""First use of a checkout: environment, packages, repair, build. Standard library only, since nothing is installed yet."""
