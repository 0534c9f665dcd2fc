/* NumPy's files: arrays one after the other, as np.save leaves them in an open file. C++11. */
#ifndef ONNXPRUNE_NPY_H_
#define ONNXPRUNE_NPY_H_

#include <onnxprune/array.h>

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace onnxprune {

inline std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read '" + path + "'");
  return std::string(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
}

/* What stands behind a key of the header, up to one of the ends. */
inline std::string header_entry(const std::string& header, const std::string& key, const char* ends) {
  const size_t at = header.find("'" + key + "': ");
  if (at == std::string::npos) throw std::runtime_error("the header of an array has no " + key);
  const size_t from = at + key.size() + 4;
  return header.substr(from, header.find_first_of(ends, from) - from);
}

inline DLDataType npy_type(const std::string& text) {
  const std::string kinds = "iufb"; /* in the order of DLPack's codes, but for the last */
  const size_t code = text.size() > 3 ? kinds.find(text[2]) : std::string::npos;
  if (code == std::string::npos || text[1] == '>') throw std::runtime_error("arrays of " + text + " are not read");
  const int bytes = std::stoi(text.substr(3));
  return DLDataType{static_cast<uint8_t>(code < 3 ? code : size_t{kDLBool}), static_cast<uint8_t>(8 * bytes), 1};
}

inline bool is_npy(const std::string& data) { return data.compare(0, 6, "\x93NUMPY") == 0; }

/* All arrays of a file. */
inline std::vector<Array> read_npy(const std::string& data) {
  std::vector<Array> result;
  for (size_t at = 0; at < data.size();) {
    const unsigned char* head = reinterpret_cast<const unsigned char*>(data.data()) + at;
    if (data.size() - at < 12 || data.compare(at, 6, "\x93NUMPY") != 0) throw std::runtime_error("no array of NumPy's");
    const bool wide = head[6] > 1;
    size_t length = head[8] | head[9] << 8;
    if (wide) length |= static_cast<size_t>(head[10]) << 16 | static_cast<size_t>(head[11]) << 24;
    at += wide ? 12 : 10;
    const std::string header = data.substr(at, length);
    at += header.size();
    if (header_entry(header, "fortran_order", ",") != "False") throw std::runtime_error("an array is not in C order");
    std::vector<int64_t> shape;
    const std::string sizes = header_entry(header, "shape", ")").substr(1);
    const char* from = sizes.c_str();
    char* to = nullptr;
    for (long long size = strtoll(from, &to, 10); to != from; size = strtoll(from, &to, 10)) {
      shape.push_back(size);
      from = *to == ',' ? to + 1 : to;
    }
    Array array(npy_type(header_entry(header, "descr", ",")), shape);
    if (data.size() - at < array.bytes()) throw std::runtime_error("an array is cut off");
    memcpy(array.data<char>(), data.data() + at, array.bytes());
    at += array.bytes();
    result.push_back(array);
  }
  return result;
}

inline void write_npy(const std::string& path, const Array& array) {
  const DLDataType type = array.type();
  std::string header = std::string("{'descr': '") + (type.bits == 8 ? '|' : '<') + "iufb"[type.code > 2 ? 3 : type.code];
  header += std::to_string(type.bits / 8) + "', 'fortran_order': False, 'shape': (";
  for (int64_t each : array.shape()) header += std::to_string(each) + ", ";
  header += "), }";
  header.resize((10 + header.size() + 64) / 64 * 64 - 10, ' ');
  header.back() = '\n';
  std::ofstream stream(path, std::ios::binary);
  stream << std::string("\x93NUMPY\x01\x00", 8) << static_cast<char>(header.size() & 255);
  stream << static_cast<char>(header.size() >> 8) << header;
  stream.write(array.data<char>(), static_cast<std::streamsize>(array.bytes()));
  if (!stream.flush()) throw std::runtime_error("cannot write '" + path + "'");
}

}  // namespace onnxprune

#endif
