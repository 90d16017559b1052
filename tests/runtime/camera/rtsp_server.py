"""A real RTSP server on loopback, GStreamer's, run by the system's Python: it prints its port once it listens.

User and password stand on two lines of stdin, so that `ps` shows them to nobody.

    /usr/bin/python3 rtsp_server.py < CREDENTIALS
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = ("( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 "
            "! jpegenc ! rtpjpegpay name=pay0 pt=26 )")

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(PIPELINE)
factory.set_shared(True)
user, password = sys.stdin.read().split()
guard = GstRtspServer.RTSPAuth()
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "viewer")
guard.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
server.set_auth(guard)
roles = GstRtspServer.RTSPPermissions()
roles.add_permission_for_role("viewer", "media.factory.access", True)
roles.add_permission_for_role("viewer", "media.factory.construct", True)
factory.set_permissions(roles)
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
