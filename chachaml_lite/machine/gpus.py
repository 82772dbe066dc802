"""NVIDIA's GPUs by NVML, its own library, which nvidia-ml-py (the extra `system`) calls."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

#: The module of nvidia-ml-py.
MODULE = "pynvml"


def is_installed() -> bool:
    """Whether GPUs can be asked at all."""
    with contextlib.suppress(ImportError):
        return importlib.util.find_spec(MODULE) is not None
    return False


class Gpus:
    """All GPUs of this machine; none where the library, the driver or its right is missing. For one thread."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        with contextlib.suppress(Exception):  # a driver that doesn't fit raises whatever it likes
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an older package of this name announces its successor
                import pynvml
            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(at) for at in range(pynvml.nvmlDeviceGetCount())]

    def names(self) -> list[str]:
        """The models."""
        names = [_read(self._nvml.nvmlDeviceGetName, each) for each in self._handles]
        return [_text(name) for name in names if name]

    def driver(self) -> str | None:
        """The version of the driver."""
        version = _read(self._nvml.nvmlSystemGetDriverVersion) if self._handles else None
        return None if version is None else _text(version)

    def readings(self) -> dict[str, float]:
        """The load of each GPU by the name of its metric. What can't be read is left out."""
        readings: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            for name, value in self._of(handle):
                if value is not None:
                    readings[f"system/gpu{number}/{name}"] = round(float(value), 3)
        return readings

    def _of(self, handle: Any) -> Iterator[tuple[str, Any]]:
        nvml = self._nvml
        rates = _read(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _read(nvml.nvmlDeviceGetMemoryInfo, handle)
        milliwatts = _read(nvml.nvmlDeviceGetPowerUsage, handle)
        yield "utilization", None if rates is None else rates.gpu
        yield "memory", None if memory is None else memory.used / 1e6
        yield "power", None if milliwatts is None else milliwatts / 1000
        yield "temperature", _read(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)


def _read(ask: Any, *arguments: Any) -> Any:
    try:
        return ask(*arguments)
    except Exception:  # NVMLError of many kinds: not supported, no right, the GPU has fallen off the bus
        return None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
