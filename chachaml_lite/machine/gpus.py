"""NVIDIA's GPUs, read by NVML through nvidia-ml-py (the extra `system`)."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

#: The module of nvidia-ml-py.
MODULE = "pynvml"


def is_installed() -> bool:
    """Return whether nvidia-ml-py is installed."""
    with contextlib.suppress(ImportError):
        return importlib.util.find_spec(MODULE) is not None
    return False


class Gpus:
    """All GPUs of this machine; none if the library, the driver or a permission is missing. Not thread-safe."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        with contextlib.suppress(Exception):  # an incompatible driver may raise anything
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an older package of this name announces its successor
                import pynvml
            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(at) for at in range(pynvml.nvmlDeviceGetCount())]

    def names(self) -> list[str]:
        """Return the names of the models."""
        names = [_read(self._nvml.nvmlDeviceGetName, each) for each in self._handles]
        return [_text(name) for name in names if name]

    def driver(self) -> str | None:
        """Return the version of the driver."""
        version = _read(self._nvml.nvmlSystemGetDriverVersion) if self._handles else None
        return None if version is None else _text(version)

    def readings(self) -> dict[str, float]:
        """Return the load of each GPU by metric name. Values that can't be read are omitted."""
        readings: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            for name, value in self._read_gpu(handle):
                if value is not None:
                    readings[f"system/gpu{number}/{name}"] = round(float(value), 3)
        return readings

    def _read_gpu(self, handle: Any) -> Iterator[tuple[str, Any]]:
        nvml = self._nvml
        rates = _read(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _read(nvml.nvmlDeviceGetMemoryInfo, handle)
        milliwatts = _read(nvml.nvmlDeviceGetPowerUsage, handle)
        yield "utilization", None if rates is None else rates.gpu
        yield "memory", None if memory is None else memory.used / 1e6
        yield "power", None if milliwatts is None else milliwatts / 1000
        yield "temperature", _read(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)


def _read(query: Any, *arguments: Any) -> Any:
    try:
        return query(*arguments)
    except Exception:  # NVMLError of many kinds: not supported, no permission, the GPU has fallen off the bus
        return None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
