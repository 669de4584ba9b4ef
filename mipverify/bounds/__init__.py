"""Network and region to sound per-neuron bounds, without any solver."""
