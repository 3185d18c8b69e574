"""Sources of images: feeds and cameras; a module per kind."""

from touchstone_line_agent.sources.base import Camera, CapturedImage, CaptureFailed, Feed, Frame, FrameSource

__all__ = ["Camera", "CaptureFailed", "CapturedImage", "Feed", "Frame", "FrameSource"]
