"""DeepseekCC: graphs of ATen operators in, programs of our kernels out.

capture -> rewrite -> program: a model becomes a graph (:mod:`.capture`), patterns of its operators
become kernels (:mod:`.rewrite`), and what is left runs natively, shape by shape (:mod:`.program`).
"""
