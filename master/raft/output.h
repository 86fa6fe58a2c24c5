// What the core wants done, taken by Raft::ready(). The type says what may happen at once and what waits for the disk.
#pragma once
#include <optional>
#include <vector>

#include "master/raft/entry.h"
#include "master/raft/message.h"

namespace cairn::raft {

// Rises with every Persist. Acknowledging one by its number, not by the index of its entries, keeps the end of a write
// from being taken for that of a later one that put other entries in the same places.
enum class PersistId : uint64_t {};

// To be made durable in this order: hardState, snapshot, truncation, entries. Several may be under way; they end in the
// order of their ids. One without content only waits for those before it.
struct Persist {
  PersistId id{};
  std::optional<HardState> hardState;
  std::optional<InstallSnapshot> snapshot;  // takes the place of the state and of the whole log, in one step
  std::optional<LogIndex> truncateFrom;     // this entry and all after it go away
  std::vector<Entry> entries;
  // To be sent when all of it is durable, and not before: they promise it to others.
  std::vector<Message> messages;
};

// An append whose entries have left memory: read up to so many durable ones from `first` on, off the event loop, and
// hand them to Raft::complete(), which says whether the message may still go.
struct StoredAppend {
  Message message;
  LogIndex first{};
  LogIndex last{};
  size_t bytesMax = 0;
};

// The newest snapshot must travel to that member; afterwards call Raft::snapshotSent().
struct SnapshotOrder {
  Message message;  // an InstallSnapshot; to be delivered when the receiver has the whole state
};

// One question to Raft::requestRead(), never asked again under the same id: a late answer to an earlier question would
// confirm a leader that no longer is one.
struct ReadId {
  Term term{};
  MemberId leader = NOBODY;
  uint64_t counter = 0;
  auto operator<=>(const ReadId&) const = default;
};

struct ReadReady {
  ReadId id;
  LogIndex index{};  // a state that holds this entry is current for the question
};

struct Output {
  std::vector<Message> messages;     // may go at once
  std::vector<StoredAppend> stored;  // may go when read
  std::vector<SnapshotOrder> snapshots;
  std::optional<Persist> persist;
  std::vector<Entry> apply;  // committed, in order, each handed out once
  std::vector<ReadReady> reads;
  std::vector<ReadId> failedReads;  // no longer leader: ask the next one
  bool healed = false;              // the damage named at the restart has been mended, durably

  bool empty() const {
    return messages.empty() && stored.empty() && snapshots.empty() && !persist && apply.empty() && reads.empty() &&
           failedReads.empty() && !healed;
  }
};

}  // namespace cairn::raft
