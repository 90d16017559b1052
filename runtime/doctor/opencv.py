"""Does OpenCV load, and what was it built with? The only part of the doctor that needs it, and not to be loaded."""

from __future__ import annotations

import importlib

from runtime.doctor.finding import Finding, judge, one_line

LOAD_OPENCV = "load OpenCV"


def examine_opencv() -> list[Finding]:
    """Load OpenCV, and ask its build for what cameras, files and windows need; one that does not load has no more."""
    try:
        cv2 = importlib.import_module("cv2")
        build, version = cv2.getBuildInformation(), cv2.__version__
    except Exception as error:  # with a NumPy or a system library that it was not built for, it raises all kinds
        return [Finding(LOAD_OPENCV, False, one_line(error),
                        "pip install --force-reinstall 'opencv-python-headless<6'")]

    def built_with(key: str) -> bool:
        lines = [line for line in build.splitlines() if line.strip().lower().startswith(key.lower() + ":")]
        return bool(lines) and "YES" in lines[0].upper()

    gui = next((line for line in build.splitlines() if line.strip().startswith("GUI:")), "GUI: NONE")
    has_haar = hasattr(cv2, "CascadeClassifier")  # OpenCV 5 lacks it
    asked = "OpenCV's build information"
    return [
        Finding(LOAD_OPENCV, True, f"OpenCV {version}"),
        judge("find faces with Haar cascades", has_haar, f"OpenCV {version}",
              "pip install 'opencv-python-headless<5', or use --faces mien-face, the default"),
        judge("show a window (--view)", "NONE" not in gui.upper(), " ".join(gui.split()),
              "pip uninstall opencv-python-headless; pip install 'opencv-python<6'"),
        judge("read V4L2 cameras", built_with("v4l/v4l2"), asked, "install a wheel with V4L2"),
        judge("read video files (FFmpeg)", built_with("FFMPEG"), asked, "install a wheel with FFmpeg"),
        judge("read GStreamer pipelines through OpenCV", built_with("GStreamer"), asked,
              "JetPack's own OpenCV has it; pip's wheels do not"),
    ]
