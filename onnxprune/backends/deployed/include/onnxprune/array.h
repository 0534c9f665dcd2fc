/* Arrays that a network reads and writes. C++11; nothing but the standard library and DLPack's types. */
#ifndef ONNXPRUNE_ARRAY_H_
#define ONNXPRUNE_ARRAY_H_

#include <dlpack/dlpack.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

namespace onnxprune {

/* The type of an element: type_of<float>(), type_of<int64_t>(), type_of<bool>(), ... */
template <typename T>
DLDataType type_of() {
  static_assert(std::is_arithmetic<T>::value, "an element is a number");
  const DLDataTypeCode code = std::is_same<T, bool>::value       ? kDLBool
                              : std::is_floating_point<T>::value ? kDLFloat
                              : std::is_signed<T>::value         ? kDLInt
                                                                 : kDLUInt;
  return DLDataType{static_cast<uint8_t>(code), static_cast<uint8_t>(8 * sizeof(T)), 1};
}

/* Elements in C order. Copies share them. */
class Array {
 public:
  /* All zero, aligned for any vector register. */
  Array(DLDataType type, std::vector<int64_t> shape) : type_(type), shape_(std::move(shape)) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, bytes() ? bytes() : 1) != 0) throw std::bad_alloc();
    memset(memory, 0, bytes());
    held_ = std::shared_ptr<void>(memory, free);
  }

  /* Elements that are somebody else's, held as long as they are needed. */
  Array(DLDataType type, std::vector<int64_t> shape, std::shared_ptr<void> elements)
      : type_(type), shape_(std::move(shape)), held_(std::move(elements)) {}

  template <typename T>
  static Array of(std::vector<int64_t> shape) {
    return Array(type_of<T>(), std::move(shape));
  }

  DLDataType type() const { return type_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  const std::shared_ptr<void>& elements() const { return held_; }
  size_t bytes() const { return size() * ((type_.bits * type_.lanes + 7) / 8); }
  size_t size() const {
    size_t count = 1;
    for (int64_t each : shape_) count *= static_cast<size_t>(each);
    return count;
  }

  template <typename T>
  T* data() const {
    return static_cast<T*>(held_.get());
  }

  /* As NumPy writes it: float32[1, 3, 224, 224]. */
  std::string text() const {
    const char* names[] = {"int", "uint", "float"};
    std::string result = type_.code == kDLBool ? "bool" : type_.code < 3 ? names[type_.code] : "?";
    if (type_.code != kDLBool) result += std::to_string(type_.bits);
    for (size_t i = 0; i < shape_.size(); ++i) result += (i ? ", " : "[") + std::to_string(shape_[i]);
    return result + (shape_.empty() ? "[]" : "]");
  }

  bool like(const Array& other) const {
    return type_.code == other.type_.code && type_.bits == other.type_.bits && shape_ == other.shape_;
  }

 private:
  DLDataType type_;
  std::vector<int64_t> shape_;
  std::shared_ptr<void> held_;
};

}  // namespace onnxprune

#endif
