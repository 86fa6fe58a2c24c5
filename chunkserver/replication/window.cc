#include "chunkserver/replication/window.h"

#include <kj/debug.h>

namespace cairn {
namespace {

uint32_t bit(unsigned slot) {
  KJ_ASSERT(slot < PrimaryWindow::SLOTS_MAX, slot);
  return uint32_t{1} << slot;
}

}  // namespace

void PrimaryWindow::reset() {
  tracked_ = 1;
  required_ = 1;
  base_ = 1;
  entries_.clear();
}

void PrimaryWindow::track(unsigned slot, bool required) {
  tracked_ |= bit(slot);
  if (required) {
    required_ |= bit(slot);
  }
}

void PrimaryWindow::release(unsigned slot, std::vector<uint64_t>& answered) {
  KJ_ASSERT(slot != 0);
  tracked_ &= ~bit(slot);
  required_ &= ~bit(slot);
  for (size_t i = 0; i < entries_.size(); ++i) {
    entries_[i].missing &= ~bit(slot);
    note(base_ + i, entries_[i], answered);
  }
  trim();
}

uint64_t PrimaryWindow::begin() {
  entries_.push_back({tracked_, false});
  return base_ + entries_.size() - 1;
}

void PrimaryWindow::acknowledge(uint64_t sequence, unsigned slot, std::vector<uint64_t>& answered) {
  if (sequence < base_ || sequence >= next()) {
    return;
  }
  Entry& entry = entries_[sequence - base_];
  entry.missing &= ~bit(slot);
  note(sequence, entry, answered);
  trim();
}

void PrimaryWindow::note(uint64_t sequence, Entry& entry, std::vector<uint64_t>& answered) {
  if (!entry.answered && (entry.missing & required_) == 0) {
    entry.answered = true;
    answered.push_back(sequence);
  }
}

void PrimaryWindow::trim() {
  while (!entries_.empty() && entries_.front().missing == 0) {
    KJ_ASSERT(entries_.front().answered);
    entries_.pop_front();
    ++base_;
  }
}

bool PrimaryWindow::acknowledgedBelow(unsigned slot, uint64_t sequence) const {
  for (uint64_t s = base_; s < sequence && s < next(); ++s) {
    if (entries_[s - base_].missing & bit(slot)) {
      return false;
    }
  }
  return true;
}

bool PrimaryWindow::awaits(uint64_t sequence, unsigned slot) const {
  return sequence >= base_ && sequence < next() && (entries_[sequence - base_].missing & bit(slot)) != 0;
}

}  // namespace cairn
