"""VNN-LIB: properties as text, read, evaluated and written."""
