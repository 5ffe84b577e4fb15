"""vlp's losses on the memory of PyTorch tensors, through libvlp_ops (../../bindings/c/vlp_ops.h) or, for tensors on a CUDA
device, vlp_pytorch_bridge_cuda, the same for CUDA devices (../pytorch_bridge.cu)."""
import ctypes
import json

import torch

# DLPack's code and bits of a type.
TYPES = {torch.float64: (2, 64), torch.float32: (2, 32), torch.float16: (2, 16), torch.bfloat16: (4, 16),
         torch.int64: (0, 64), torch.uint8: (1, 8), torch.bool: (6, 8)}


class Array(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("type_code", ctypes.c_uint8),
                ("type_bits", ctypes.c_uint8), ("rank", ctypes.c_int32), ("extents", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.POINTER(ctypes.c_int64))]


class Arrays(ctypes.Structure):
    _fields_ = [("arrays", ctypes.POINTER(Array)), ("count", ctypes.c_int64)]


class Number(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_int64)]


class Inputs(ctypes.Structure):
    _fields_ = [("arrays", Arrays), ("numbers", ctypes.POINTER(Number)), ("number_count", ctypes.c_int64)]


class Gradients(ctypes.Structure):
    _fields_ = [("arrays", Arrays), ("add", ctypes.c_int32)]


class Saved(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_int64)]


class Option(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_char_p)]


def arrays_of(tensors):
    """Tensors by name as the library takes them; the result keeps what it points to."""
    def describe(name, tensor):
        sizes = ctypes.c_int64 * max(tensor.dim(), 1)
        return Array(name.encode(), tensor.data_ptr(), *TYPES[tensor.dtype], tensor.dim(), sizes(*tensor.shape),
                     sizes(*tensor.stride()))

    return Arrays((Array * len(tensors))(*[describe(name, tensor) for name, tensor in tensors.items()]), len(tensors))


class Bridge:
    """The loaded library."""

    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
        for name, result, arguments in (
                ("vlp_ops_error", text, []), ("vlp_ops_describe", text, []),
                ("vlp_device_make", ctypes.c_int, [ctypes.c_ssize_t, pointer]), ("vlp_device_free", None, [pointer]),
                ("vlp_device_scratch_bytes", number, [pointer]),
                ("vlp_loss_make", ctypes.c_int, [text, text, pointer, number, pointer]), ("vlp_loss_free", None, [pointer]),
                ("vlp_loss_saved_bytes", ctypes.c_int, [pointer] * 3), ("vlp_loss_forward", ctypes.c_int, [pointer] * 5),
                ("vlp_loss_backward", ctypes.c_int, [pointer] * 4 + [ctypes.c_double, pointer]),
                ("vlp_loss_forward_backward", ctypes.c_int, [pointer] * 3 + [ctypes.c_double] + [pointer] * 2)):
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments
        self.description = json.loads(self.library.vlp_ops_describe())
        self.losses = {loss["name"]: loss for loss in self.description["losses"]}

    def backend(self):
        return self.description["products"]

    def compiler(self):
        return self.description["compiler"]

    def device_bytes(self):
        """Bytes of device memory that vlp holds (the library for CUDA only), except what forward saves."""
        self.library.vlp_device_bytes.restype = ctypes.c_int64
        return self.library.vlp_device_bytes()

    def call(self, function, *arguments):
        if getattr(self.library, function)(*arguments) != 0:
            raise RuntimeError(self.library.vlp_ops_error().decode())


class Loss:
    """A loss bound to tensors: `inputs` by name; those that require a gradient get one, in `gradients`.

    Calling it runs forward and backward (on a CUDA device: queues them) and returns the value, a tensor that the next
    call overwrites. `options` are numbers or names by name, those that the host knows of the inputs among them. `place` is
    a number of threads, or the CUDA stream's handle.
    """

    def __init__(self, bridge, name, inputs, options, place):
        self.bridge, self.device, self.loss = bridge, ctypes.c_void_p(), ctypes.c_void_p()
        first = next(tensor for tensor in inputs.values() if tensor.is_floating_point())
        accumulator = torch.float64 if first.dtype == torch.float64 else torch.float32
        self.value = torch.full((), float("nan"), dtype=accumulator, device=first.device)
        known = bridge.losses.get(name, {"numbers": [], "forward_backward": False})
        names = {number["name"] for number in known["numbers"]}
        numbers = {key: value for key, value in options.items() if key in names}
        given = [Option(key.encode(), str(value).encode()) for key, value in options.items() if key not in names]
        bridge.call("vlp_loss_make", name.encode(), str(first.dtype).removeprefix("torch.").encode(),
                    (Option * len(given))(*given), len(given), ctypes.byref(self.loss))
        bridge.call("vlp_device_make", place, ctypes.byref(self.device))
        # Written once, so that its pages are there before memory is measured.
        self.gradients = {key: torch.full_like(tensor, float("nan"), requires_grad=False)
                          for key, tensor in inputs.items() if tensor.requires_grad}
        self.tensors = inputs  # keeps the memory alive
        self.inputs = Inputs(arrays_of(inputs), (Number * len(numbers))(*[Number(key.encode(), value)
                                                                          for key, value in numbers.items()]), len(numbers))
        self.outputs, self.to = arrays_of({"loss": self.value}), Gradients(arrays_of(self.gradients), 0)
        self.at_once, self.saved = known["forward_backward"], None

    def saved_bytes(self):
        """Bytes that forward saves for backward; 0 where they are one call."""
        if self.at_once:
            return 0
        bytes = ctypes.c_int64()
        self.bridge.call("vlp_loss_saved_bytes", self.loss, ctypes.byref(self.inputs), ctypes.byref(bytes))
        return bytes.value

    def __call__(self):
        inputs, outputs, gradients = ctypes.byref(self.inputs), ctypes.byref(self.outputs), ctypes.byref(self.to)
        if self.at_once:
            self.bridge.call("vlp_loss_forward_backward", self.loss, self.device, inputs, 1.0, outputs, gradients)
            return self.value
        if self.saved is None:  # not before the first call, whose memory it is
            alignment = self.bridge.description["saved_alignment"]
            bytes = self.saved_bytes()
            self.memory = torch.empty(bytes + alignment, dtype=torch.uint8, device=self.value.device)
            start = -(-self.memory.data_ptr() // alignment) * alignment
            self.saved = Saved(start, bytes)
        saved = ctypes.byref(self.saved)
        self.bridge.call("vlp_loss_forward", self.loss, self.device, inputs, outputs, saved)
        self.bridge.call("vlp_loss_backward", self.loss, self.device, inputs, saved, 1.0, gradients)
        return self.value

    def scratch_bytes(self):
        return self.bridge.library.vlp_device_scratch_bytes(self.device)

    def __del__(self):
        self.bridge.library.vlp_loss_free(self.loss)
        self.bridge.library.vlp_device_free(self.device)
