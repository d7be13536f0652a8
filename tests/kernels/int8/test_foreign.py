"""The products of processors that this is not, down to their last bit.

Their kernels are generated, then run here with their dot products spelled out (see conftest): the
layout, the loops, the shifts and the epilogue are those of the real kernels.
"""

import torch

from deepseek.kernels import int8
from deepseek.kernels.gemm.spec import int8_format


def test_foreign(foreign):
    torch.manual_seed(0)
    for (m,n,k) in [(1,1,1),(7,33,31),(9,49,257),(37,100,768)]:
        x=torch.randn(m,k); w=torch.randint(-128,128,(n,k),dtype=torch.int8); s=torch.rand(n)
        for r in ("symmetric","asymmetric"):
            q,sc,z=int8.quantize_rows(x,r,foreign); Q,S,Z=int8.quantize_rows_reference(x,r)
            assert torch.equal(q.int(),Q) and torch.equal(sc,S) and torch.equal(z,Z)
            p=int8.pack_int8(w,s,r,foreign)
            y=int8.linear_int8(x,p,out=torch.empty(m,n))
            ref=int8.quantized_linear_reference(x,int8.QuantizedWeight(integers=w,scales=s[:,None],zeros=None,group_size=k),r)
            assert torch.equal(y,ref)
        for b,g,z in [(4,32,False),(4,64,True),(8,128,False)]:
            qq=int8.quantize_groups(torch.randn(n,k),b,g,zeros=z)
            y=int8.linear_weight_only(x,int8.pack_groups(qq,b,foreign))
            ref=int8.quantized_linear_reference(x,qq,"blocks")
            torch.testing.assert_close(y,ref,rtol=1e-5,atol=1e-4)
