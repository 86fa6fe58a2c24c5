#include "tests/sim/world/sim_flow.h"

#include <kj/debug.h>

#include <algorithm>
#include <cstring>

namespace cairn {

SimFlow::SimFlow(SimNetwork& network, std::string from, std::string to)
    : network_(network),
      id_(network.nextFlow_++),
      from_(std::move(from)),
      to_(std::move(to)),
      brokenPair_(kj::newPromiseAndFulfiller<void>()),
      brokenBranches_(brokenPair_.promise.fork()) {
  network_.flows_[id_] = this;
}

SimFlow::~SimFlow() noexcept(false) {
  network_.flows_.erase(id_);
  if (peer_ != nullptr) {
    peer_->clearPeer();
  }
}

// ---------------------------------------------------------------- the writer's end

kj::Promise<void> SimFlow::write(kj::Array<kj::byte> bytes) {
  if (broken_) {
    return broken();
  }
  KJ_REQUIRE(!finished_, "write after shutdownWrite()");
  if (unreadBytes_ < WINDOW_BYTES) {
    Segment segment;
    segment.bytes = kj::mv(bytes);
    send(kj::mv(segment));
    return kj::READY_NOW;
  }
  auto pair = kj::newPromiseAndFulfiller<void>();
  writer_ = kj::mv(pair.fulfiller);
  return pair.promise.then([this, bytes = kj::mv(bytes)]() mutable { return write(kj::mv(bytes)); });
}

void SimFlow::finish(bool gone) {
  if (broken_ || (finished_ && !gone)) {
    return;
  }
  finished_ = true;
  Segment segment;
  segment.end = true;
  segment.gone = gone;
  send(kj::mv(segment));
}

kj::Promise<void> SimFlow::whenBroken() {
  return brokenBranches_.addBranch();
}

void SimFlow::send(Segment segment) {
  Nanos earliest = onTheWay_.empty() ? 0 : onTheWay_.back().arrival;
  segment.arrival = std::max(earliest, network_.clock_.monotonic() + network_.delay(from_, to_));
  unreadBytes_ += segment.bytes.size();
  onTheWay_.push_back(kj::mv(segment));
  schedule();
}

// ---------------------------------------------------------------- the reader's end

size_t SimFlow::take(kj::byte* buffer, size_t maxBytes) {
  size_t done = 0;
  while (done < maxBytes && !arrived_.empty()) {
    auto& head = arrived_.front();
    size_t piece = std::min(maxBytes - done, head.size() - headTaken_);
    memcpy(buffer + done, head.begin() + headTaken_, piece);
    done += piece;
    headTaken_ += piece;
    if (headTaken_ == head.size()) {
      arrived_.pop_front();
      headTaken_ = 0;
    }
  }
  unreadBytes_ -= done;
  if (done > 0 && unreadBytes_ < WINDOW_BYTES) {
    wakeWriter();
  }
  return done;
}

kj::Promise<size_t> SimFlow::read(kj::byte* buffer, size_t minBytes, size_t maxBytes) {
  if (broken_) {
    return broken();
  }
  size_t done = take(buffer, maxBytes);
  if (done >= minBytes || (ended_ && arrived_.empty())) {
    return done;
  }
  auto pair = kj::newPromiseAndFulfiller<void>();
  reader_ = kj::mv(pair.fulfiller);
  auto rest = [this, buffer, minBytes, maxBytes, done] {
    return read(buffer + done, minBytes - done, maxBytes - done).then([done](size_t more) { return done + more; });
  };
  return pair.promise.then(kj::mv(rest));
}

void SimFlow::abandonReading() {
  abandoned_ = true;
  arrived_.clear();
  headTaken_ = 0;
}

// ---------------------------------------------------------------- the network's hand

void SimFlow::breakNow(const char* why) {
  if (broken_) {
    return;
  }
  broken_ = true;
  brokenWhy_ = why;
  onTheWay_.clear();
  arrived_.clear();
  brokenPair_.fulfiller->fulfill();
  wakeReader();
  wakeWriter();
}

void SimFlow::schedule() {
  if (scheduled_ || onTheWay_.empty() || blackholed_ || network_.silent(from_, to_)) {
    return;
  }
  scheduled_ = true;
  Nanos wait = std::max<Nanos>(0, onTheWay_.front().arrival - network_.clock_.monotonic());
  auto arrived = [self = kj::addRef(*this)]() mutable {
    self->scheduled_ = false;
    self->deliver();
  };
  network_.tasks_.add(network_.clock_.after(wait).then(kj::mv(arrived)));
}

void SimFlow::deliver() {
  while (!onTheWay_.empty() && !blackholed_ && !network_.silent(from_, to_) &&
         onTheWay_.front().arrival <= network_.clock_.monotonic()) {
    Segment segment = kj::mv(onTheWay_.front());
    onTheWay_.pop_front();
    arrive(kj::mv(segment));
  }
  schedule();
}

void SimFlow::arrive(Segment segment) {
  network_.bytesDelivered_ += segment.bytes.size();
  network_.note(from_ + ">" + to_ + " " + std::to_string(segment.bytes.size()) + " " +
                (segment.end ? "end" : std::to_string(hash64(segment.bytes))));
  if (segment.end) {
    ended_ = true;
    if (segment.gone && peer_ != nullptr) {
      peer_->breakNow("closed by the other end");
    }
  } else if (abandoned_) {
    breakNow("the other end reads no more");
  } else if (segment.bytes.size() > 0) {
    arrived_.push_back(kj::mv(segment.bytes));
  }
  wakeReader();
}

void SimFlow::wakeReader() {
  KJ_IF_MAYBE (waiting, reader_) {
    auto fulfiller = kj::mv(*waiting);
    reader_ = nullptr;
    fulfiller->fulfill();
  }
}

void SimFlow::wakeWriter() {
  KJ_IF_MAYBE (waiting, writer_) {
    auto fulfiller = kj::mv(*waiting);
    writer_ = nullptr;
    fulfiller->fulfill();
  }
}

// ---------------------------------------------------------------- a socket

SimSocket::~SimSocket() noexcept(false) {
  in_->abandonReading();
  out_->finish(true);
}

kj::Promise<size_t> SimSocket::tryRead(void* buffer, size_t minBytes, size_t maxBytes) {
  return in_->read(static_cast<kj::byte*>(buffer), minBytes, maxBytes);
}

kj::Promise<void> SimSocket::write(const void* buffer, size_t size) {
  return out_->write(kj::heapArray(static_cast<const kj::byte*>(buffer), size));
}

kj::Promise<void> SimSocket::write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) {
  size_t size = 0;
  for (auto piece : pieces) {
    size += piece.size();
  }
  auto bytes = kj::heapArray<kj::byte>(size);
  size_t at = 0;
  for (auto piece : pieces) {
    if (piece.size() > 0) {
      memcpy(bytes.begin() + at, piece.begin(), piece.size());
    }
    at += piece.size();
  }
  return out_->write(kj::mv(bytes));
}

}  // namespace cairn
