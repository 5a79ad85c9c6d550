"""Studio: browse, sketch, judge and watch in a browser."""
