"""mipverify: certified minimal distortions of ReLU networks by mixed-integer programming."""
