/* bench MODEL [RUNS]: the median time of a run on the embedded input; TVM_NUM_THREADS says how many threads it takes.

   Without RUNS they are as many as fit into a second, at least 10. */
#include <onnxprune/model.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>

#include "sample.h"

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    fprintf(stderr, "usage: bench MODEL [RUNS]\n");
    return 2;
  }
  try {
    typedef std::chrono::steady_clock Clock;
    const onnxprune::Model model(argv[1]);
    const std::vector<onnxprune::Array> inputs = embedded_inputs();
    for (int i = 0; i < 3; ++i) model(inputs);
    const size_t runs = argc == 3 ? strtoul(argv[2], nullptr, 10) : 0;
    std::vector<double> times;
    const Clock::time_point start = Clock::now();
    while (runs ? times.size() < runs : times.size() < 10 || Clock::now() - start < std::chrono::seconds(1)) {
      const Clock::time_point before = Clock::now();
      model(inputs);
      times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - before).count());
    }
    std::sort(times.begin(), times.end());
    printf("median %.4f ms, fastest %.4f ms, of %zu runs\n", times[times.size() / 2], times[0], times.size());
    return 0;
  } catch (const std::exception& error) {
    fprintf(stderr, "bench: %s\n", error.what());
    return 2;
  }
}
