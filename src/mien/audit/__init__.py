"""Auditing a data set: what is wrong with it, found by looking or by models."""
