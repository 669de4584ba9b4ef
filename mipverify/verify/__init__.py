"""One query from start to end: the ladder of stages and the certificate it returns."""
