"""DeepseekCC: a graph of torch operators in, a program of native kernels out."""
