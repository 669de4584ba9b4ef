"""Upper bounds: adversarial points found by gradient and polish."""
