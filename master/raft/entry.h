// The words of the Raft core: members, entries of the log, and what a member must never forget.
// Everything in master/raft/ is pure: no clock, no disk, no network. Names are those of Ongaro's thesis.
#pragma once
#include <kj/array.h>
#include <kj/refcount.h>

#include <compare>
#include <cstdint>

#include "common/ids.h"

namespace cairn::raft {

// One data directory of one master. A master that lost its directory comes back under a new id: what it promised under
// the old one (votes, acknowledged entries) is forgotten, so the old id must never speak again.
enum class MemberId : uint64_t {};
constexpr MemberId NOBODY{};

// Bytes that nobody changes any more, shared by the log, the disk and every message that carries them. For one thread.
class Payload {
 public:
  Payload() = default;
  explicit Payload(kj::Array<const kj::byte> bytes) : shared_(kj::refcounted<Shared>(kj::mv(bytes))) {}
  Payload(Payload&&) = default;
  Payload(const Payload& other) : shared_(other.share()) {}
  ~Payload() noexcept {}  // so that what holds one has a destructor that doesn't throw either
  Payload& operator=(Payload&&) = default;
  Payload& operator=(const Payload& other) {
    shared_ = other.share();
    return *this;
  }

  kj::ArrayPtr<const kj::byte> bytes() const { return shared_.get() == nullptr ? nullptr : shared_->bytes.asPtr(); }
  size_t size() const { return bytes().size(); }

 private:
  struct Shared : kj::Refcounted {
    explicit Shared(kj::Array<const kj::byte> content) : bytes(kj::mv(content)) {}
    kj::Array<const kj::byte> bytes;
  };
  kj::Own<Shared> share() const { return shared_.get() == nullptr ? kj::Own<Shared>() : kj::addRef(*shared_); }

  mutable kj::Own<Shared> shared_;
};

enum class EntryType : uint8_t {
  COMMAND,     // of the state machine; the core doesn't look into it
  TERM_START,  // the first entry of a leader: committing it commits what earlier terms left behind
  MEMBERSHIP,  // a whole Membership; in force from the moment it is in the log
};

struct Entry {
  Term term{};
  LogIndex index{};
  EntryType type = EntryType::COMMAND;
  Payload payload;
};

constexpr size_t ENTRY_OVERHEAD_BYTES = 48;  // what an entry costs besides its payload
inline size_t sizeOf(const Entry& entry) {
  return entry.payload.size() + ENTRY_OVERHEAD_BYTES;
}

// Where a log stands. A log with a later term, or with the same term and a later index, is more up to date.
struct Position {
  Term term{};
  LogIndex index{};
  auto operator<=>(const Position&) const = default;
};

// Durable before anybody may learn of it.
struct HardState {
  Term term{};
  MemberId votedFor = NOBODY;
  bool operator==(const HardState&) const = default;
};

// A run of entries of one term begins at `first`.
struct TermRun {
  Term term{};
  LogIndex first{};
};

constexpr LogIndex before(LogIndex index) {
  return LogIndex{raw(index) - 1};
}

}  // namespace cairn::raft
