"""The statistics that the detectors share."""
