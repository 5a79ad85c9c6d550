"""The demo: launch, record, train, deploy, judge, report; each stage can be taken up where it was left."""
