"""The real consumers that the sinks are shown to."""

from tests.browser.page import browser
from tests.publish.servers import mlflow_server

__all__ = ["browser", "mlflow_server"]
