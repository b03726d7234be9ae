"""Without rclpy there is nothing to test here, and the report says so."""

from importlib.util import find_spec

HAS_ROS = find_spec("rclpy") is not None

collect_ignore_glob = [] if HAS_ROS else ["test_*.py"]


def pytest_report_header() -> str:
    """One line at the top of the test report."""
    return "tests/ros: real nodes over DDS" if HAS_ROS else "tests/ros: SKIPPED, no rclpy here"
