"""Packages that open ONNX Runtime without a word on threads take every core: this limits them."""

from typing import Any


def limit_onnx_threads(threads: int) -> None:
    """Have every session opened from now on use so many threads.

    ONNX Runtime reads no environment variable for it, unlike TensorFlow, PyTorch and OpenCV.
    """
    import onnxruntime

    unlimited: Any = onnxruntime.InferenceSession

    class LimitedSession(unlimited):  # type: ignore[misc]
        def __init__(self, model: Any, sess_options: Any = None, **settings: Any) -> None:
            options = sess_options or onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            super().__init__(model, options, **settings)

    onnxruntime.InferenceSession = LimitedSession
