"""Calls of models: headers, keys, proxies, answers, time-outs, breakers, quotas, failures, translation."""
