r"""The benchmark compares a search step with a vanilla step and with stock Betty.

It measures time, memory, fidelity and growth in one process. What it times takes turns, so that a slow
moment of the machine hits all of it, and it takes each ratio within a turn. Batches are synthetic, the
model is a BERT classifier with random weights. Run it from the root of the repository::

    python -m benchmarks
    python -m benchmarks --smoke
    python -m benchmarks --device cuda --precision bf16 --layers 24 --hidden 1024 --heads 16

Memory that the C library gives back between steps comes again as fresh pages. To keep it::

    MALLOC_MMAP_THRESHOLD_=8000000000 MALLOC_TRIM_THRESHOLD_=8000000000 \
        python -m benchmarks --parts time
"""
