"""Sampling that follows need: which share of traces is worth keeping now, said to those who sample.

`policy.py` is what an operator writes, `needs.py` what is needed now. `collector.py` and `remote.py` say both in the
words of who asks: the Collector's tail sampling, and SDKs that poll Jaeger's remote sampling. `names.py` is how the
weight of what was kept comes back.
"""
