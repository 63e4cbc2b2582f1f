"""What runs the network."""

import sys

# Each time that OpenVINO is imported it forks a process that reports it over the network, unless this is not there.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
