"""Image files and pixels: decoding, encoding, bit depths, heatmaps, regions of interest."""
