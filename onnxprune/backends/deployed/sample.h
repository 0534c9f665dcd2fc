/* The input that is embedded by sample.S, and the outputs that are expected for it. */
#ifndef SAMPLE_H_
#define SAMPLE_H_

#include <onnxprune/npy.h>

#include <string>
#include <vector>

extern "C" const char sample_inputs[], sample_inputs_end[], sample_outputs[], sample_outputs_end[];

inline std::vector<onnxprune::Array> embedded_inputs() {
  return onnxprune::read_npy(std::string(sample_inputs, sample_inputs_end));
}

inline std::vector<onnxprune::Array> expected_outputs() {
  return onnxprune::read_npy(std::string(sample_outputs, sample_outputs_end));
}

#endif
