/* Runs the network, compiled to native code, on an image of one bright stroke, and says which digit it takes it for. */
#include <onnxprune/model.h>

#include <algorithm>
#include <cstdio>

int main() {
  const onnxprune::Model model(network_LIBRARY);
  const onnxprune::Array image = onnxprune::Array::of<float>({1, 1, 8, 8});
  for (int row = 0; row < 8; ++row) image.data<float>()[8 * row + 4] = 1;
  const onnxprune::Array logits = model({image})[0];
  const float* first = logits.data<float>();
  std::printf("%s: it is a %d\n", logits.text().c_str(), int(std::max_element(first, first + logits.size()) - first));
  return logits.size() == 10 ? 0 : 1;
}
