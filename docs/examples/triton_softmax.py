"""A softmax in Triton, forward and backward, recorded on a GPU into a file that any machine can judge:

    python triton_softmax.py softmax.safetensors     # where there is a GPU
    python -c 'import backproof; print(backproof.certify_numbers("softmax", found="softmax.safetensors"))'

(The numbers of this example have not been made on a GPU yet.)
"""

import sys

import torch
import triton
import triton.language as tl
from safetensors.torch import save_file


@triton.jit
def softmax_forward(x_pointer, y_pointer, columns, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    inside = at < columns
    x = tl.load(x_pointer + row * columns + at, mask=inside, other=-float("inf")).to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(y_pointer + row * columns + at, e / tl.sum(e, axis=0), mask=inside)


@triton.jit
def softmax_backward(y_pointer, dy_pointer, dx_pointer, columns, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    inside = at < columns
    y = tl.load(y_pointer + row * columns + at, mask=inside, other=0.0).to(tl.float32)
    dy = tl.load(dy_pointer + row * columns + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(dx_pointer + row * columns + at, y * (dy - tl.sum(dy * y, axis=0)), mask=inside)


def main():
    generator = torch.Generator().manual_seed(0)
    x, dy = torch.randn(2, 37, 131, generator=generator).to("cuda", torch.bfloat16)
    y, dx = torch.empty_like(x), torch.empty_like(x)
    block = triton.next_power_of_2(x.shape[-1])
    softmax_forward[(len(x),)](x, y, x.shape[-1], BLOCK=block)
    softmax_backward[(len(x),)](y, dy, dx, x.shape[-1], BLOCK=block)
    arrays = {"inputs/x": x, "cotangent": dy, "found/y": y, "found/x": dx}
    save_file({name: array.cpu().contiguous() for name, array in arrays.items()}, sys.argv[1])


if __name__ == "__main__":
    main()
