"""`storyloom doctor`: finds what a deployment would fail on, before it is paid for."""
