"""The HTTP control API: a drop-in for the instance routes of Evolution API 2.3, and the host's own."""

from api.app import create_app
from api.server import ApiServer, ListenError
from api.settings import ApiSettings

__all__ = ["ApiServer", "ApiSettings", "ListenError", "create_app"]
