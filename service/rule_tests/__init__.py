"""Unit tests of rules: traffic that is described goes through the pipeline, and the pages are compared."""
