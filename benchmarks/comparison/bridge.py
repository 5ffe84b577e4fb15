"""vlp's losses on the memory of PyTorch tensors, through the library vlp_pytorch_bridge (../pytorch_bridge.cpp) or, for
tensors on a CUDA device, vlp_pytorch_bridge_cuda (../pytorch_bridge.cu)."""
import ctypes

import torch


class Array(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("values", ctypes.c_void_p), ("gradient", ctypes.c_void_p),
                ("element_bytes", ctypes.c_int64), ("rank", ctypes.c_int64),
                ("extents", ctypes.POINTER(ctypes.c_int64))]


class Option(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_double)]


class Bridge:
    """The loaded library."""

    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))
        for name in ("vlp_error", "vlp_backend", "vlp_compiler"):
            getattr(self.library, name).restype = ctypes.c_char_p
        self.library.vlp_loss_make.restype = ctypes.c_void_p
        self.library.vlp_loss_make.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ssize_t, ctypes.POINTER(Option),
                                               ctypes.c_int64]
        self.library.vlp_loss_step.argtypes = [ctypes.c_void_p, ctypes.POINTER(Array), ctypes.c_int64, ctypes.c_void_p]
        self.library.vlp_loss_scratch.restype = ctypes.c_int64
        self.library.vlp_loss_scratch.argtypes = [ctypes.c_void_p]
        self.library.vlp_loss_free.argtypes = [ctypes.c_void_p]

    def backend(self):
        return self.library.vlp_backend().decode()

    def compiler(self):
        return self.library.vlp_compiler().decode()

    def device_bytes(self):
        """Bytes of device memory that vlp holds (the library for CUDA only)."""
        self.library.vlp_device_bytes.restype = ctypes.c_int64
        return self.library.vlp_device_bytes()


class Loss:
    """A loss bound to tensors: `inputs` by name; those that require a gradient get one, in `gradients`.

    Calling it runs forward and backward (on a CUDA device: queues them) and returns the value, a tensor that the next
    call overwrites. `place` is a number of threads, or the CUDA stream's handle.
    """

    def __init__(self, bridge, name, inputs, options, place):
        self.library = bridge.library
        first = next(tensor for tensor in inputs.values() if tensor.is_floating_point())
        accumulator = torch.float64 if first.dtype == torch.float64 else torch.float32
        self.value = torch.full((), float("nan"), dtype=accumulator, device=first.device)
        given = (Option * len(options))(*[Option(key.encode(), float(value)) for key, value in options.items()])
        self.loss = self.library.vlp_loss_make(name.encode(), str(first.dtype).removeprefix("torch.").encode(), place, given,
                                               len(options))
        if not self.loss:
            raise RuntimeError(self.library.vlp_error().decode())
        # Written once, so that its pages are there before memory is measured.
        self.gradients = {key: torch.full_like(tensor, float("nan"), requires_grad=False)
                          for key, tensor in inputs.items() if tensor.requires_grad}
        self.inputs = inputs  # keeps the memory alive
        self.arrays = (Array * len(inputs))(*[self.describe(key, tensor) for key, tensor in inputs.items()])

    def describe(self, name, tensor):
        if not tensor.is_contiguous():
            raise ValueError(f"{name} is not contiguous")
        gradient = self.gradients[name].data_ptr() if name in self.gradients else None
        return Array(name.encode(), tensor.data_ptr(), gradient, tensor.element_size(), tensor.dim(),
                     (ctypes.c_int64 * max(tensor.dim(), 1))(*tensor.shape))

    def __call__(self):
        if not self.library.vlp_loss_step(self.loss, self.arrays, len(self.arrays), self.value.data_ptr()):
            raise RuntimeError(self.library.vlp_error().decode())
        return self.value

    def scratch_bytes(self):
        return self.library.vlp_loss_scratch(self.loss)

    def __del__(self):
        if getattr(self, "loss", None):
            self.library.vlp_loss_free(self.loss)
