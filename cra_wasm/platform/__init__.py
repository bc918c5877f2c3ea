"""The one place that touches threads, the event loop and JavaScript."""
