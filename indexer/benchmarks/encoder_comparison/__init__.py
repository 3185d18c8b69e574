"""Images to choose an encoder by: drawn by other code than those that the built-in encoder is fitted on."""
