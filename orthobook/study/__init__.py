"""What was measured: runs, the files that keep them, the studies of the book and what follows from them.

run             a training or a benchmark, and its record
source          the digest of the code that made it
provenance      its birth certificate: when, where, with which versions
store           a file of records, which only grows
execution       one run, with its checkpoints; robustness is what it may measure beside accuracy
sweep           many runs, in the processes or on the cluster of executors
design          a study: cells of contenders with equal budgets
studies         the studies of the book; tables shows them, verification repeats them
claims          the verdicts that follow from them
timings         ratios of times, and the stored benchmarks
"""
