"""The command line and its files are fixtures here, too."""

from tests.cli.conftest import perpdesk  # noqa: F401 (fixtures are found by their names)
