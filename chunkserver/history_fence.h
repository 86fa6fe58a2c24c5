// HistoryFence: how far the history of the masters had come that this chunkserver obeyed, kept durably. Orders of a
// master whose history lacks that are refused.
//
//   history      two slots of 512 bytes, written in turn, so that a torn write leaves the other
#pragma once
#include <string>

#include "common/disk.h"
#include "common/task.h"
#include "rpc/history.h"

namespace cairn {

class HistoryFence {
 public:
  static constexpr uint64_t SLOT_BYTES = 512;

  explicit HistoryFence(Disk& disk) : disk_(disk) {}
  KJ_DISALLOW_COPY(HistoryFence);
  // Reads what was noted down. Waits inline.
  Status open();

  const HistoryPoint& obeyed() const { return obeyed_; }
  // False: the master has less behind it than this server has obeyed. Otherwise it is obeyed from now on.
  bool obeys(const HistoryPoint& master);
  // Makes obeyed() durable. One call at a time.
  Task<Status> note();
  bool isNoted() const { return obeyed_ == noted_; }

 private:
  std::string encode() const;
  bool decode(std::string_view slot);

  Disk& disk_;
  kj::Own<File> file_;
  HistoryPoint obeyed_;
  HistoryPoint noted_;
  uint64_t writes_ = 0;
};

}  // namespace cairn
