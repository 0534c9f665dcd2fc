/* run_model MODEL INPUT...: writes output0.npy, output1.npy, ... into the working directory.

   An INPUT is a .npy file, which may hold several inputs one after the other, or bare elements in C order, whose type
   and shape are then those of the embedded input in that place. */
#include <onnxprune/model.h>
#include <stdio.h>

#include "sample.h"

using onnxprune::Array;

static void read(const std::string& path, const std::vector<Array>& embedded, std::vector<Array>* inputs) {
  const std::string data = onnxprune::read_file(path);
  if (onnxprune::is_npy(data)) {
    for (const Array& each : onnxprune::read_npy(data)) inputs->push_back(each);
    return;
  }
  if (inputs->size() >= embedded.size()) throw std::runtime_error("'" + path + "' is one input too many");
  const Array& like = embedded[inputs->size()];
  if (data.size() != like.bytes()) {
    const std::string wanted = std::to_string(like.bytes()) + ": " + like.text();
    throw std::runtime_error("'" + path + "' has " + std::to_string(data.size()) + " bytes, not " + wanted);
  }
  Array input(like.type(), like.shape());
  memcpy(input.data<char>(), data.data(), data.size());
  inputs->push_back(input);
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: run_model MODEL INPUT...\n");
    return 2;
  }
  try {
    const std::vector<Array> embedded = embedded_inputs();
    std::vector<Array> inputs;
    for (int i = 2; i < argc; ++i) read(argv[i], embedded, &inputs);
    const std::vector<Array> outputs = onnxprune::Model(argv[1])(inputs);
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::string path = "output" + std::to_string(i) + ".npy";
      onnxprune::write_npy(path, outputs[i]);
      printf("%s: %s\n", path.c_str(), outputs[i].text().c_str());
    }
    return 0;
  } catch (const std::exception& error) {
    fprintf(stderr, "run_model: %s\n", error.what());
    return 2;
  }
}
