"""Fixtures of every test of publishing."""

from tests.publish.demonstration import demonstration
from tests.publish.servers import mlflow_server, mlflow_server_with_users, phoenix_server

__all__ = ["demonstration", "mlflow_server", "mlflow_server_with_users", "phoenix_server"]
