// Writes small safetensors files, honest or lying, for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/testing_directory.h"
#include "tensor/tensor.h"

namespace octavo::testing {

struct FileTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> dims;
  std::vector<float> values;  // one for each element, or one for all
};

inline std::string with_length(const std::string& header, const std::string& data = "") {
  std::string file(8, '\0');
  for (unsigned i = 0; i < 8; ++i)
    file[i] = static_cast<char>((uint64_t{header.size()} >> (8 * i)) & 0xFF);
  return file + header + data;
}

inline std::string safetensors_bytes(const std::vector<FileTensor>& tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})", data;
  for (const FileTensor& t : tensors) {
    const size_t begin = data.size();
    int64_t count = 1;
    std::string dims;
    for (int64_t d : t.dims) {
      count *= d;
      dims += (dims.empty() ? "" : ",") + std::to_string(d);
    }
    for (int64_t i = 0; i < count; ++i) {
      const float v = t.values[t.values.size() == 1 ? 0 : static_cast<size_t>(i)];
      char bytes[4];
      const uint16_t half = t.dtype == DType::kF16 ? float_to_f16(v) : float_to_bf16(v);
      if (t.dtype == DType::kF32) {
        std::memcpy(bytes, &v, 4);
      } else {
        std::memcpy(bytes, &half, 2);
      }
      data.append(bytes, size_of(t.dtype));
    }
    const char* dtype = t.dtype == DType::kF32 ? "F32" : t.dtype == DType::kF16 ? "F16" : "BF16";
    header.append(",\"").append(t.name).append("\":{\"dtype\":\"").append(dtype);
    header.append("\",\"shape\":[").append(dims).append("],\"data_offsets\":[");
    header.append(std::to_string(begin))
        .append(",")
        .append(std::to_string(data.size()))
        .append("]}");
  }
  return with_length(header + "}", data);
}

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace octavo::testing
