"""The processes of an account: the desk that trades it, the watch that stands behind, what they tell.

- ``live``: one desk from its start to its end. ``rungs``: what people and the desk's own checks forbid.
- ``watch``: takes a silent owner's place, to protect and close. ``metrics_file``: figures for ``status``.
"""
