"""The core, whole: records in, notices out, with the state of every stage."""
