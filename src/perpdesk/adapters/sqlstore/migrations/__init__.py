"""How a database came to have its tables: Alembic revisions, in ``versions``, shipped inside the package.

A revision is never edited once released. It spells its tables out and takes nothing from ``schema``, which
goes on changing; the tests compare what the revisions make with what ``schema`` says.
"""

HEAD = "0005"
