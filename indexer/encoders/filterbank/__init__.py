"""The encoder of fixed filters, fitted on drawn images alone."""
