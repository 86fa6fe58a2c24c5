// Little-endian fields in a row: how records and headers are laid out in bytes. A reader never reads past
// its end; it remembers that it was asked to, so a decoder checks once, at the end.
#pragma once
#include <kj/array.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace cairn {

class FieldWriter {
 public:
  explicit FieldWriter(std::string& out) : out_(out) {}

  template <typename T>
  requires std::is_unsigned_v<T>
  void put(T value) {
    for (size_t i = 0; i < sizeof(T); i++) {
      out_.push_back(static_cast<char>(value & 0xff));
      value = static_cast<T>(value >> (sizeof(T) > 1 ? 8 : 0));
    }
  }
  // Big-endian: for keys, which sort by their bytes.
  template <typename T>
  requires std::is_unsigned_v<T>
  void putSorted(T value) {
    for (size_t i = sizeof(T); i > 0; i--) {
      out_.push_back(static_cast<char>((value >> (8 * (i - 1))) & 0xff));
    }
  }
  // At most 65,535 bytes.
  void putText(std::string_view text) {
    put(static_cast<uint16_t>(text.size()));
    out_.append(text);
  }

 private:
  std::string& out_;
};

class FieldReader {
 public:
  explicit FieldReader(std::string_view in) : in_(in) {}

  template <typename T>
  requires std::is_unsigned_v<T> T get() {
    std::string_view field = take(sizeof(T));
    T value = 0;
    for (size_t i = field.size(); i > 0; i--) {
      value = static_cast<T>((sizeof(T) > 1 ? value << 8 : 0) | static_cast<uint8_t>(field[i - 1]));
    }
    return value;
  }
  template <typename T>
  requires std::is_unsigned_v<T> T getSorted() {
    std::string_view field = take(sizeof(T));
    T value = 0;
    for (char c : field) {
      value = static_cast<T>((sizeof(T) > 1 ? value << 8 : 0) | static_cast<uint8_t>(c));
    }
    return value;
  }
  std::string_view getText() { return take(get<uint16_t>()); }
  // `size` bytes, or none and failed().
  std::string_view take(size_t size) {
    if (size > in_.size() - used_) {
      failed_ = true;
      used_ = in_.size();
      return {};
    }
    auto taken = in_.substr(used_, size);
    used_ += size;
    return taken;
  }
  size_t used() const { return used_; }
  size_t left() const { return in_.size() - used_; }
  bool failed() const { return failed_; }

 private:
  std::string_view in_;
  size_t used_ = 0;
  bool failed_ = false;
};

inline kj::ArrayPtr<const kj::byte> asBytes(std::string_view text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}
inline std::string_view asText(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string_view(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
}

}  // namespace cairn
