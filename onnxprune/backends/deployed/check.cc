/* check MODEL: runs the embedded input, and fails where an output is not what onnxruntime computes.

   An error is relative to the largest number that is expected in that output. */
#include <math.h>
#include <onnxprune/model.h>
#include <stdio.h>

#include <algorithm>

#include "sample.h"

using onnxprune::Array;

static const double kTolerance = $tolerance;

static double half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double size = exponent == 31  ? (fraction ? NAN : INFINITY)
                      : exponent == 0 ? ldexp(fraction, -24)
                                      : ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -size : size;
}

static double element(const Array& array, size_t i) {
  const DLDataType type = array.type();
  switch (type.code << 8 | type.bits) {
    case kDLFloat << 8 | 16: return half(array.data<uint16_t>()[i]);
    case kDLFloat << 8 | 32: return array.data<float>()[i];
    case kDLFloat << 8 | 64: return array.data<double>()[i];
    case kDLInt << 8 | 8: return array.data<int8_t>()[i];
    case kDLInt << 8 | 16: return array.data<int16_t>()[i];
    case kDLInt << 8 | 32: return array.data<int32_t>()[i];
    case kDLInt << 8 | 64: return static_cast<double>(array.data<int64_t>()[i]);
    case kDLBool << 8 | 8:
    case kDLUInt << 8 | 8: return array.data<uint8_t>()[i];
    case kDLUInt << 8 | 16: return array.data<uint16_t>()[i];
    case kDLUInt << 8 | 32: return array.data<uint32_t>()[i];
    case kDLUInt << 8 | 64: return static_cast<double>(array.data<uint64_t>()[i]);
  }
  throw std::runtime_error("outputs of this type are not compared");
}

/* What is no number counts as an infinite error, unless it is expected. */
static bool compare(size_t number, const Array& got, const Array& expected) {
  if (!got.like(expected)) {
    printf("output %zu: %s instead of %s\n", number, got.text().c_str(), expected.text().c_str());
    return false;
  }
  double error = 0, largest = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double a = element(got, i), b = element(expected, i);
    if (isfinite(b)) largest = std::max(largest, fabs(b));
    if (a == b || (isnan(a) && isnan(b))) continue;
    error = isfinite(a - b) ? std::max(error, fabs(a - b)) : INFINITY;
  }
  const double relative = error / (largest > 0 ? largest : 1);
  printf("output %zu: %s, largest error %.3g, relative %.3g\n", number, got.text().c_str(), error, relative);
  return relative <= kTolerance;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: check MODEL\n");
    return 2;
  }
  try {
    const std::vector<Array> outputs = onnxprune::Model(argv[1])(embedded_inputs()), expected = expected_outputs();
    if (expected.empty()) throw std::runtime_error("there is no sample");
    bool right = outputs.size() == expected.size();
    if (!right) printf("%zu outputs instead of %zu\n", outputs.size(), expected.size());
    for (size_t i = 0; right && i < outputs.size(); ++i) right = compare(i, outputs[i], expected[i]);
    printf(right ? "right\n" : "WRONG\n");
    return right ? 0 : 1;
  } catch (const std::exception& error) {
    fprintf(stderr, "check: %s\n", error.what());
    return 2;
  }
}
