"""Fixtures of every test of publishing."""

from servers import mlflow_server, mlflow_server_with_users, phoenix_server

__all__ = ["mlflow_server", "mlflow_server_with_users", "phoenix_server"]
