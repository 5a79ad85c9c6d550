"""The runner of our launch XML subset: parser (text to a plan) and supervisor (a plan to processes). docs/launch.md says what is read."""
