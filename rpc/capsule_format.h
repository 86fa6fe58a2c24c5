// Namespace capsules: what they are in bytes. A capsule is a snapshot of the masters' state, its tail the entries of
// the log after it; both are a row of frames, which travel from the leading master to the chunkservers and lie there as
// they are, in each volume:
//
//   capsule/<epoch>-<term>-<index>.capsule    pieces of the snapshot file, then an end that counts them
//   capsule/<epoch>-<term>-<index>.tail       entries, in order; frames may overlap
//
// A frame says by itself of which cluster and which state it is, so a disk alone is enough, and files may have lost
// their names. Its content is compressed; the checksum covers header and content as stored, so that whoever keeps a
// frame can check it without taking it apart.
#pragma once
#include <kj/array.h>
#include <kj/function.h>

#include <optional>
#include <string>

#include "common/ids.h"
#include "common/result.h"

namespace cairn {

constexpr char CAPSULE_DIRECTORY[] = "capsule";
constexpr size_t CAPSULE_PIECE_BYTES = 1 << 20;   // of a snapshot file in one frame
constexpr size_t CAPSULE_CONTENT_MAX = 64 << 20;  // of a frame, taken apart: one entry may be as long as a log segment

// Later states of a group compare as greater; those of a group that was begun anew are later than all before.
struct CapsuleId {
  GroupEpoch epoch{};
  LogIndex index{};
  Term term{};
  auto operator<=>(const CapsuleId&) const = default;
};

enum class FrameKind : uint32_t {
  PIECE = 1,  // `first`: its number, from 0; `last`: bytes of the whole snapshot file
  END = 2,    // `first`: how many pieces there are; no content
  // Entries `first` to `last`. They belong to every capsule of that epoch; `capsule` names no other than the epoch.
  TAIL = 3,
};

struct FrameHead {
  FrameKind kind = FrameKind::PIECE;
  ClusterId cluster;
  CapsuleId capsule;
  uint64_t first = 0;
  uint64_t last = 0;
  int64_t seconds = 0;  // since 1970: when it was made
};

std::string encodeFrame(const FrameHead& head, kj::ArrayPtr<const kj::byte> content);

struct Frame {
  FrameHead head;
  size_t contentBytes = 0;  // taken apart
  kj::ArrayPtr<const kj::byte> stored;
  size_t bytes = 0;  // of the whole frame
};
// The frame at the start of `bytes`; its content points there. EUCLEAN: there is none, or it is damaged.
// EPROTONOSUPPORT: written by a newer version.
Result<Frame> checkFrame(kj::ArrayPtr<const kj::byte> bytes);
// How long the frame is that begins with these FRAME_HEADER_BYTES, nothing when they are none's. Not checked.
constexpr size_t FRAME_HEADER_BYTES = 112;
std::optional<size_t> frameBytes(kj::ArrayPtr<const kj::byte> header);
Result<kj::Array<kj::byte>> contentOf(const Frame& frame);

// ---- the content of a TAIL ----

void appendTailEntry(std::string& content, LogIndex index, Term term, kj::ArrayPtr<const kj::byte> payload);
// Shows the entries in order; what it returns ends that. EUCLEAN when the content isn't one.
Status readTailEntries(kj::ArrayPtr<const kj::byte> content,
                       kj::FunctionParam<Status(LogIndex, Term, kj::ArrayPtr<const kj::byte>)> each);

// ---- names, relative to a volume ----

std::string capsulePath(const CapsuleId& id);
std::string tailPath(const CapsuleId& id);
// Reads the names back; nothing when it is not such a name.
std::optional<CapsuleId> parseCapsuleName(const std::string& name);
std::optional<CapsuleId> parseTailName(const std::string& name);

}  // namespace cairn
