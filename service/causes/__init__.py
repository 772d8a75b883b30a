"""Why a series changed: what its cells did before and since, and which part of the change is whose."""
