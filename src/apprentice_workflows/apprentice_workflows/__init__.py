"""The command line and the loops: demo, collect, train, evaluate, bench."""
