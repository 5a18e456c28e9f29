"""Features of a corpus: a function from files to an Arrow table, and a job that runs it on many files and can be stopped at any moment."""

from specgraph.runtimes.extract.batch import extract_batch as extract_batch
from specgraph.runtimes.extract.run import extract as extract
from specgraph.runtimes.extract.summary import Summary as Summary
