"""A camera: an RTSP server that streams numbered frames as JPEG over RTP (RFC 2326, 2435): `rtsp_server.py PORT`."""

from __future__ import annotations

import socketserver
import struct
import sys
import threading
import time

import cv2
import numpy as np

WIDTH, HEIGHT, QUALITY, FRAMES_A_SECOND = 160, 144, 90, 20
_PAYLOAD = 1400
_JPEG = 26  # RTP's payload type


def frame(index: int) -> bytes:
    """The scan of a JPEG of a disc, with noise that makes each frame unique."""
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    cv2.circle(image, (80, 72), 50, (180, 170, 170), -1)
    noise = np.random.default_rng(index).integers(0, 6, image.shape, np.uint8)
    _, data = cv2.imencode(".jpg", image + noise, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    jpeg = data.tobytes()
    start = jpeg.index(b"\xff\xda")
    return jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") : -2]


class Camera(socketserver.StreamRequestHandler):
    """One viewer: responds to its requests, and streams after PLAY."""

    def handle(self) -> None:
        """Until the viewer disconnects."""
        self.stopped = threading.Event()
        try:
            while (line := self.rfile.readline()) not in (b"", b"\r\n"):
                method, url = line.decode().split()[:2]
                headers = {}
                while (header := self.rfile.readline().strip()) != b"":
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                self.respond(method, url, headers["cseq"])
        except OSError:
            pass
        finally:
            self.stopped.set()

    def respond(self, method: str, url: str, sequence: str) -> None:
        """The response to one request."""
        headers, body = ["Session: 1"], ""
        if method == "OPTIONS":
            headers = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        elif method == "DESCRIBE":
            body = (
                f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP {_JPEG}\r\na=control:0\r\n"
            )
            headers = [f"Content-Base: {url}/", "Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            headers.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        text = "\r\n".join(["RTSP/1.0 200 OK", f"CSeq: {sequence}", *headers, "", body])
        self.wfile.write(text.encode())
        if method == "PLAY":
            threading.Thread(target=self.stream, daemon=True).start()

    def stream(self) -> None:
        """Stream frames until the viewer disconnects."""
        sequence = 0
        index = 0
        try:
            while not self.stopped.wait(1 / FRAMES_A_SECOND):
                scan = frame(index)
                index += 1
                stamp = int(time.monotonic() * 90_000) & 0xFFFFFFFF
                for offset in range(0, len(scan), _PAYLOAD):
                    chunk = scan[offset : offset + _PAYLOAD]
                    last = offset + _PAYLOAD >= len(scan)
                    rtp = struct.pack("!BBHII", 0x80, _JPEG | (0x80 if last else 0), sequence & 0xFFFF, stamp, 1)
                    jpeg = struct.pack("!II", offset, 1 << 24 | QUALITY << 16 | (WIDTH // 8) << 8 | HEIGHT // 8)
                    packet = rtp + jpeg + chunk
                    self.wfile.write(b"$\0" + struct.pack("!H", len(packet)) + packet)
                    sequence += 1
        except OSError:
            self.stopped.set()


class Server(socketserver.ThreadingTCPServer):
    """One thread per viewer."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), Camera) as server:
        server.serve_forever()
