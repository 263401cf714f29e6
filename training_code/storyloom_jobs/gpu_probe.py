"""Multiplies two matrices on every GPU that PyTorch finds, and prints the result as one line of JSON.

    python3 -P gpu_probe.py

`gpu_check.py` runs it and reads `{"gpus", "reason"}`: the number of GPUs, and why one of them fails, which is
empty if all work.
"""

import json

import torch


def multiply_on_every_gpu() -> tuple[int, str]:
    """Return the number of GPUs, and why one of them fails."""
    count = 0
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call] # is_available() would hide the reason
        count = torch.cuda.device_count()
        for number in range(count):
            ones = torch.ones(256, 256, device=f"cuda:{number}")
            if float((ones @ ones).sum()) != 256.0**3:
                return count, f"GPU {number} computes wrongly"
    except Exception as error:
        return count, (str(error).strip() or type(error).__name__).splitlines()[0]
    return count, "" if count else "PyTorch finds no GPU"


if __name__ == "__main__":
    gpus, reason = multiply_on_every_gpu()
    print(json.dumps({"gpus": gpus, "reason": reason}))
