"""The conformance suite's runner: cases as data, what this project answers, and how any program is asked."""
