"""What is unusual: arrays in, arrays out. One detector a file, all of one contract (`detectors.core.contract`)."""
