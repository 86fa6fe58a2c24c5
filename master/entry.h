// CommandEntry: a log entry's payload, a flat wire::Command message.
#pragma once
#include <capnp/serialize.h>
#include <kj/array.h>

#include <cstring>

#include "schema/log.capnp.h"

namespace cairn {

class CommandEntry {
 public:
  // Copies, for a payload lies anywhere and words need their alignment.
  explicit CommandEntry(kj::ArrayPtr<const kj::byte> payload) : CommandEntry(wordsOf(payload)) {}
  explicit CommandEntry(kj::Array<capnp::word> words) : words_(kj::mv(words)), message_(words_, options()) {}

  wire::Command::Reader reader() { return message_.getRoot<wire::Command>(); }
  kj::ArrayPtr<const kj::byte> payload() const { return words_.asBytes(); }

 private:
  static kj::Array<capnp::word> wordsOf(kj::ArrayPtr<const kj::byte> payload) {
    auto words = kj::heapArray<capnp::word>(payload.size() / sizeof(capnp::word));
    memcpy(words.begin(), payload.begin(), words.asBytes().size());
    return words;
  }
  // What is in the log was checked when it came in.
  static capnp::ReaderOptions options() {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = uint64_t{1} << 32;
    return options;
  }

  kj::Array<capnp::word> words_;
  capnp::FlatArrayMessageReader message_;
};

}  // namespace cairn
