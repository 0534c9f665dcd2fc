"""Machine code for CPUs: layouts, packed weights and loop nests, chosen by rule from shapes and the vector unit."""
