"""The processes of an account: the desk that trades it, the watch that stands behind, what they tell.

- ``live``: one desk from its start to its end. ``rungs``: what people and the desk's own checks forbid.
- ``rehearsal``, ``first_cover``: what a desk does before it owns anything, and first of all when it does.
- ``watch``: takes a silent owner's place, to protect and close. ``metrics_file``: figures for ``status``.
"""
