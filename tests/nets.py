"""Small networks in which channels depend on each other in every way that the rules know; opset 17 but where told."""

from __future__ import annotations

NETS: dict[str, str] = {
    "chain": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,3,3] w, float[6] b, float[2,6,1,1] v, float[2] c>
        { a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, v, c) }""",
    "signal": """
        (float[2,3,9] x) => (float[2,2,7] y)
        <float[6,3,3] w, float[6] b, float[2,6,1] v>
        { a = Conv(x, w, b)  r = LeakyRelu(a)  y = Conv(r, v) }""",
    "volume": """
        (float[1,3,4,4,4] x) => (float[1,2,4,4,4] y)
        <float[6,3,1,1,1] w, float[2,6,1,1,1] v>
        { a = Conv(x, w)  r = Tanh(a)  y = Conv(r, v) }""",
    "dilated and strided": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,3,3] w, float[2,6,2,2] v>
        { a = Conv<dilations=[2,2], pads=[2,2,2,2]>(x, w)  r = Elu(a)
          y = Conv<strides=[2,1], auto_pad="SAME_UPPER">(r, v) }""",
    "residual": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,3,3] w, float[6,3,1,1] u, float[6] b, float[2,6,1,1] v>
        { a = Conv<pads=[1,1,1,1]>(x, w)  c = Conv(x, u, b)  s = Add(a, c)  r = Relu(s)  y = Conv(r, v) }""",
    "residual of residuals": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[6,6,1,1] u, float[6,6,1,1] t, float[2,6,1,1] v>
        { a = Conv(x, w)  b = Conv(a, u)  c = Add(a, b)  r = Relu(c)  d = Conv(r, t)  e = Add(c, d)
          y = Conv(e, v) }""",
    "difference": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[6,3,1,1] u, float[2,6,1,1] v>
        { a = Conv(x, w)  c = Conv(x, u)  s = Sub(a, c)  y = Conv(s, v) }""",
    "quotient": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[6,3,1,1] u, float[2,6,1,1] v>
        { a = Conv(x, w)  c = Conv(x, u)  e = Exp(c)  s = Div(a, e)  y = Conv(s, v) }""",
    "largest of three": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[6,3,1,1] u, float[6,3,1,1] t, float[2,6,1,1] v>
        { a = Conv(x, w)  b = Conv(x, u)  c = Conv(x, t)  s = Max(a, b, c)  y = Conv(s, v) }""",
    "choice": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[6,3,1,1] u, float[2,6,1,1] v>
        { a = Conv(x, w)  b = Conv(x, u)  p = Less(a, b)  s = Where(p, a, b)  y = Conv(s, v) }""",
    "added to itself": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[2,6,1,1] v>
        { a = Conv(x, w)  s = Add(a, a)  y = Conv(s, v) }""",
    "swish": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[2,6,1,1] v>
        { a = Conv(x, w)  g = Sigmoid(a)  s = Mul(a, g)  y = Conv(s, v) }""",
    "squeeze and excite": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[4,6,1,1] d, float[6,4,1,1] u, float[2,6,1,1] v>
        { a = Conv(x, w)  m = GlobalAveragePool(a)  n = Conv(m, d)  r = Tanh(n)  o = Conv(r, u)  g = Sigmoid(o)
          s = Mul(a, g)  y = Conv(s, v) }""",
    "gate of one channel": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[1,6,1,1] g, float[2,6,1,1] v>
        { a = Conv(x, w)  m = Conv(a, g)  s = Sigmoid(m)  t = Mul(a, s)  y = Conv(t, v) }""",
    "normalised": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[6] scale, float[6] b, float[6] mean, float[6] var, float[2,6,1,1] v>
        { a = Conv(x, w)  n = BatchNormalization(a, scale, b, mean, var)  r = Relu(n)  y = Conv(r, v) }""",
    "factors of every shape": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[6,1,1] f, float[1,6,1,1] g, float h, float[1,1] i, float[6,1,1] slope, float[6,6,6] j,
         float[2,6,1,1] v>
        { a = Conv(x, w)  b = Mul(f, a)  c = Add(b, g)  d = Sub(c, h)  e = Add(i, d)  k = PRelu(e, slope)  l = Add(k, j)
          y = Conv(l, v) }""",
    "pooled": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[2,6,1,1] v>
        { a = Conv(x, w)  m = MaxPool<kernel_shape=[2,2]>(a)  p = AveragePool<kernel_shape=[2,2], pads=[0,0,1,1]>(m)
          l = LpPool<kernel_shape=[2,2]>(p)  y = Conv(l, v) }""",
    "depthwise": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[6,1,3,3] d, float[6] b, float[2,6,1,1] v>
        { a = Conv(x, w)  r = Relu(a)  c = Conv<group=6>(r, d, b)  s = Relu(c)  y = Conv(s, v) }""",
    "depthwise with multiplier": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[4,3,1,1] w, float[8,1,3,3] d, float[8] b, float[2,8,1,1] v>
        { a = Conv(x, w)  c = Conv<group=4>(a, d, b)  r = Relu(c)  y = Conv(r, v) }""",
    "depthwise twice": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[4,3,1,1] w, float[8,1,1,1] d, float[24,1,1,1] e, float[2,24,1,1] v>
        { a = Conv(x, w)  c = Conv<group=4>(a, d)  f = Conv<group=8>(c, e)  y = Conv(f, v) }""",
    "grouped": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[8,3,3,3] g, float[8] b, float[2,8,1,1] v>
        { a = Conv(x, w)  c = Conv<group=2>(a, g, b)  r = Relu(c)  y = Conv(r, v) }""",
    "grouped twice": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[12,3,1,1] w, float[12,4,1,1] g, float[8,6,1,1] h, float[2,8,1,1] v>
        { a = Conv(x, w)  b = Conv<group=3>(a, g)  c = Conv<group=2>(b, h)  y = Conv(c, v) }""",
    "grouped with a shortcut": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[8,3,1,1] w, float[8,2,1,1] g, float[2,8,1,1] v>
        { a = Conv(x, w)  b = Conv<group=4>(a, g)  s = Add(a, b)  y = Conv(s, v) }""",
    "shuffled": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, int64[5] t = {0,2,3,6,6}, int64[4] u = {0,6,6,6}, float[6,2,1,1] g, float[2,6,1,1] v>
        { a = Conv(x, w)  b = Reshape(a, t)  c = Transpose<perm=[0,2,1,3,4]>(b)  d = Reshape(c, u)
          e = Conv<group=3>(d, g)  y = Conv(e, v) }""",
    "joined": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[4,3,1,1] w, float[5,3,1,1] u, float[2,9,1,1] v>
        { a = Conv(x, w)  b = Conv(x, u)  c = Concat<axis=1>(a, b)  r = Relu(c)  y = Conv(r, v) }""",
    "joined to itself": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[4,3,1,1] w, float[2,8,1,1] v>
        { a = Conv(x, w)  c = Concat<axis=1>(a, a)  y = Conv(c, v) }""",
    "joined to the input": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[4,3,1,1] w, float[2,10,1,1] v>
        { a = Conv(x, w)  c = Concat<axis=1>(x, a, x)  y = Conv(c, v) }""",
    "dense blocks": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[4,3,1,1] w, float[3,4,1,1] u, float[5,7,1,1] t, float[2,12,1,1] v>
        { a = Conv(x, w)  b = Conv(a, u)  c = Concat<axis=1>(a, b)  r = Relu(c)  d = Conv(r, t)
          e = Concat<axis=1>(c, d)  y = Conv(e, v) }""",
    "split unevenly": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, int64[3] s = {1,2,3}, float[2,5,1,1] v>
        { a = Conv(x, w)  b,  c,  d = Split<axis=1>(a, s)  e = Tanh(c)  f = Concat<axis=1>(d, e)  g = Mul(f, b)
          y = Conv(g, v) }""",
    "split and crossed": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[8,3,1,1] w, int64[2] s = {4,4}, float[2,4,1,1] v>
        { a = Conv(x, w)  b,  c = Split<axis=1>(a, s)  d = Sigmoid(c)  e = Mul(b, d)  y = Conv(e, v) }""",
    "split and depthwise": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[8,3,1,1] w, int64[2] s = {4,4}, float[4,1,1,1] d, float[2,8,1,1] v>
        { a = Conv(x, w)  b,  c = Split<axis=1>(a, s)  e = Conv<group=4>(c, d)  f = Concat<axis=1>(b, e)
          y = Conv(f, v) }""",
    "flattened pixels": """
        (float[N,3,4,4] x) => (float[N,2] y)
        <float[5,3,3,3] w, float[20,6] v, float[6,2] u>
        { a = Conv(x, w)  f = Flatten(a)  b = Gemm(f, v)  r = Relu(b)  y = Gemm(r, u) }""",
    "flattened with channels last": """
        (float[N,3,4,4] x) => (float[N,2] y)
        <float[5,3,3,3] w, float[20,2] v>
        { a = Conv(x, w)  t = Transpose<perm=[0,2,3,1]>(a)  f = Flatten(t)  y = Gemm(f, v) }""",
    "flattened after a join": """
        (float[N,3,4,4] x) => (float[N,2] y)
        <float[2,3,3,3] w, float[3,3,3,3] u, float[20,2] v>
        { a = Conv(x, w)  b = Conv(x, u)  c = Concat<axis=1>(a, b)  f = Flatten(c)  y = Gemm(f, v) }""",
    "reshaped twice": """
        (float[N,3,4,4] x) => (float[N,2] y)
        <float[6,3,3,3] w, int64[3] s = {0,6,-1}, int64[2] t = {-1,24}, float[24,2] v>
        { a = Conv(x, w)  b = Reshape(a, s)  r = Relu(b)  c = Reshape(r, t)  y = MatMul(c, v) }""",
    "one sample": """
        (float[1,3,4,4] x) => (float[1,2] y)
        <float[6,3,3,3] w, int64[1] s = {-1}, int64[2] t = {1,24}, float[24,2] v>
        { a = Conv(x, w)  b = Reshape(a, s)  r = Relu(b)  c = Reshape(r, t)  y = MatMul(c, v) }""",
    "tokens": """
        (float[N,3,4,4] x) => (float[N,2,16] y)
        <float[6,3,1,1] w, int64[3] s = {0,6,16}, float[6,8] m, float[8] b, float[8,2] v>
        { a = Conv(x, w)  c = Reshape(a, s)  d = Transpose<perm=[0,2,1]>(c)  e = MatMul(d, m)  f = Add(e, b)
          g = Gelu(f)  h = MatMul(g, v)  y = Transpose<perm=[0,2,1]>(h) }""",
    "dense": """
        (float[N,3] x) => (float[N,2] y)
        <float[3,6] w, float[6] b, float[5,6] u, float[1,5] c, float[5,2] v, float d>
        { a = Gemm<alpha=0.5, beta=2.0>(x, w, b)  r = Tanh(a)  e = Gemm<transB=1, beta=0.5>(r, u, c)
          y = Gemm(e, v, d) }""",
    "dense with a shortcut": """
        (float[N,3] x) => (float[N,2] y)
        <float[3,6] w, float[6,6] u, float[6] b, float[6,2] v>
        { a = MatMul(x, w)  c = MatMul(a, u)  d = Add(b, c)  s = Add(d, a)  y = MatMul(s, v) }""",
    "bias per sample": """
        (float[2,3] x) => (float[2,2] y)
        <float[3,6] w, float[2,6] b, float[6,2] v, float[2,1] c>
        { a = Gemm(x, w, b)  r = Tanh(a)  y = Gemm(r, v, c) }""",
    "batched weight": """
        (float[3,5,4] x) => (float[3,5,2] y)
        <float[3,4,6] w, float[6] b, float[3,6,2] v>
        { a = MatMul(x, w)  c = Add(a, b)  r = Tanh(c)  y = MatMul(r, v) }""",
    "a batch of weights for one sample": """
        (float[5,4] x) => (float[3,5,2] y)
        <float[3,4,6] w, float[3,6,2] v>
        { a = MatMul(x, w)  r = Tanh(a)  y = MatMul(r, v) }""",
    "vector": """
        (float[3] x) => (float[2] y)
        <float[3,6] w, float[6,2] v>
        { a = MatMul(x, w)  r = Tanh(a)  y = MatMul(r, v) }""",
    "channels mixed over positions": """
        (float[2,3,8] x) => (float[2,2,5] y)
        <float[6,3,1] w, float[8,5] m, float[2,6,1] v>
        { a = Conv(x, w)  b = MatMul(a, m)  y = Conv(b, v) }""",
    "shared by branches": """
        (float[2,3,6,6] x, float[2,3,6,6] z) => (float[2,2,6,6] y)
        <float[6,3,1,1] w, float[6] b, float[2,6,1,1] v, float[2,6,1,1] u>
        { a = Conv(x, w, b)  c = Conv(z, w, b)  d = Tanh(c)  e = Conv(a, v)  f = Conv(d, u)  y = Sub(e, f) }""",
    "shared readers": """
        (float[2,3,6,6] x, float[2,3,6,6] z) => (float[2,2,6,6] y)
        <float[6,3,1,1] w, float[6,3,1,1] u, float[2,6,1,1] v>
        { a = Conv(x, w)  c = Conv(z, u)  d = Tanh(c)  e = Conv(a, v)  f = Conv(d, v)  y = Sub(e, f) }""",
    "shared in a row": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[6,6,1,1] u, float[6] b, float[2,6,1,1] v>
        { a = Conv(x, w, b)  c = Conv(a, u, b)  r = Tanh(c)  d = Conv(r, u, b)  y = Conv(d, v) }""",
    "mean to dense": """
        (float[N,3,6,6] x) => (float[N,2] y)
        <float[6,3,1,1] w, float[6,2] v>
        { a = Conv(x, w)  m = ReduceMean<axes=[-1,2], keepdims=0>(a)  y = Gemm(m, v) }""",
    "read in three ways": """
        (float[2,3,6,6] x) => (float[2,2,6,6] y, float[2,5] z)
        <float[6,3,1,1] w, float[2,6,1,1] v, float[6,5] m, float[6,1,3,3] d, float[2,6,1,1] t>
        { a = Conv(x, w)  b = Conv(a, v)  p = GlobalMaxPool(a)  f = Flatten(p)  z = Gemm(f, m)
          c = Conv<group=6, pads=[1,1,1,1]>(a, d)  e = Conv(c, t)  y = Add(b, e) }""",
    "part of it is an output": """
        (float[2,3,6,6] x) => (float[2,2,6,6] y, float[2,3,6,6] z)
        <float[6,3,1,1] w, int64[2] s = {3,3}, float[2,6,1,1] v>
        { a = Conv(x, w)  z,  b = Split<axis=1>(a, s)  y = Conv(a, v) }""",
    "a loose end": """
        (float[2,3,6,6] x) => (float[2,2,A,B] y)
        <float[6,3,1,1] w, float[4,6,1,1] u, float[2,6,1,1] v>
        { a = Conv(x, w)  b = Conv(a, u)  y = Conv(a, v) }""",
    "gathered before": """
        (int64[2,5] i) => (float[2,5,2] y)
        <float[9,4] table, float[4,6] w, float[6,2] v>
        { e = Gather(table, i)  a = MatMul(e, w)  r = Tanh(a)  y = MatMul(r, v) }""",
    "a branch beside": """
        (float[2,3,6,6] x, bool c) => (float[2,2,6,6] y)
        <float[6,3,1,1] w, float[2,6,1,1] v>
        { a = Conv(x, w)  b = Conv(a, v)
          y = If (c) <then_branch = t () => (float[2,2,6,6] p) { p = Neg(b) },
                      else_branch = e () => (float[2,2,6,6] q) { q = Abs(b) }> }""",
}
OPSETS = {"tokens": 20}
