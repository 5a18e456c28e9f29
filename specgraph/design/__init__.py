"""Designs in float64 numpy, without a graph: windows, filterbanks, transforms' matrices."""
