#include "tests/sim/world/sim_content.h"

#include <kj/debug.h>

#include <algorithm>
#include <cstring>

namespace cairn {

namespace {

constexpr uint64_t PAGE = SimContent::PAGE;
constexpr uint64_t SECTOR = SimContent::SECTOR;

}  // namespace

size_t SimContent::read(uint64_t offset, kj::ArrayPtr<kj::byte> out) const {
  return readFrom(offset, out, false);
}

size_t SimContent::readDevice(uint64_t offset, kj::ArrayPtr<kj::byte> out) const {
  return readFrom(offset, out, true);
}

size_t SimContent::readFrom(uint64_t offset, kj::ArrayPtr<kj::byte> out, bool device) const {
  if (offset >= size_) {
    return 0;
  }
  size_t length = std::min<uint64_t>(out.size(), size_ - offset);
  for (size_t done = 0; done < length;) {
    uint64_t within = (offset + done) % PAGE;
    size_t piece = std::min<uint64_t>(PAGE - within, length - done);
    auto page = pages_.find((offset + done) / PAGE);
    if (page == pages_.end()) {
      memset(out.begin() + done, 0, piece);
    } else {
      const Page& found = page->second;
      const Bytes& bytes = device && found.forgotten ? *found.stored : found.now;
      memcpy(out.begin() + done, bytes.data() + within, piece);
    }
    done += piece;
  }
  return length;
}

uint64_t SimContent::growth(uint64_t offset, uint64_t length) const {
  uint64_t bytes = 0;
  for (uint64_t number = offset / PAGE; length > 0 && number <= (offset + length - 1) / PAGE; number++) {
    auto page = pages_.find(number);
    bytes += page == pages_.end() || !page->second.allocated ? PAGE : 0;
  }
  return bytes;
}

// The page, with what is stored of it set aside, ready to be changed.
SimContent::Page& SimContent::touch(uint64_t number) {
  auto [it, made] = pages_.try_emplace(number);
  Page& page = it->second;
  if (made) {
    page.storedVersion = version_;
  }
  if (page.stored == nullptr) {
    page.stored = std::make_unique<Bytes>(page.now);
    page.storedAllocated = page.allocated;
    dirtyPages_.insert(number);
  }
  page.version = ++version_;
  page.forgotten = false;  // the kernel writes whole pages: one new byte brings the page to the next sync
  return page;
}

void SimContent::setAllocated(Page& page, bool allocated) {
  if (page.allocated != allocated) {
    page.allocated = allocated;
    allocatedPages_ += allocated ? 1 : -1;
  }
}

void SimContent::write(uint64_t offset, kj::ArrayPtr<const kj::byte> data) {
  for (size_t done = 0; done < data.size();) {
    uint64_t within = (offset + done) % PAGE;
    size_t piece = std::min<uint64_t>(PAGE - within, data.size() - done);
    Page& page = touch((offset + done) / PAGE);
    memcpy(page.now.data() + within, data.begin() + done, piece);
    setAllocated(page, true);
    done += piece;
  }
  size_ = std::max<uint64_t>(size_, data.size() == 0 ? 0 : offset + data.size());
  version_++;
}

// Zeros [begin, end); whole pages are freed.
void SimContent::zero(uint64_t begin, uint64_t end) {
  std::vector<uint64_t> numbers;
  for (auto it = pages_.lower_bound(begin / PAGE); it != pages_.end() && it->first * PAGE < end; ++it) {
    numbers.push_back(it->first);
  }
  for (uint64_t number : numbers) {
    Page& page = touch(number);
    uint64_t from = std::max(begin, number * PAGE);
    uint64_t to = std::min(end, (number + 1) * PAGE);
    memset(page.now.data() + (from - number * PAGE), 0, to - from);
    if (to - from == PAGE) {
      setAllocated(page, false);
    }
  }
}

void SimContent::truncate(uint64_t size) {
  if (size < size_) {
    zero(size, (size_ + PAGE - 1) / PAGE * PAGE);
  }
  size_ = size;
  version_++;
}

void SimContent::punch(uint64_t offset, uint64_t length) {
  zero(offset, offset + length);
}

SimContent::SyncPoint SimContent::beginSync() const {
  SyncPoint point;
  point.size = size_;
  point.version = version_;
  for (uint64_t number : dirtyPages_) {
    const Page& page = pages_.at(number);
    if (!page.forgotten) {
      point.pages.push_back({number, page.version, page.now, page.allocated});
    }
  }
  return point;
}

void SimContent::clean(uint64_t number, Page& page) {
  page.stored = nullptr;
  page.forgotten = false;
  dirtyPages_.erase(number);
}

// Drops what is the same on both sides.
void SimContent::settle(uint64_t number, Page& page) {
  clean(number, page);
  if (!page.allocated) {
    pages_.erase(number);
  }
}

// The device put `bytes` on another page of the file that counts as stored.
void SimContent::misdirect(uint64_t from, const Bytes& bytes) {
  for (auto& [number, page] : pages_) {
    if (number != from && page.stored == nullptr) {
      page.stored = std::make_unique<Bytes>(bytes);
      page.storedAllocated = true;
      page.forgotten = true;
      dirtyPages_.insert(number);
      return;
    }
  }
}

void SimContent::endSync(const SyncPoint& point, const std::function<Fate(uint64_t page)>& fate) {
  for (const auto& captured : point.pages) {
    auto it = pages_.find(captured.number);
    if (it == pages_.end() || captured.version <= it->second.storedVersion) {
      continue;  // a later sync has ended before this one
    }
    Page& page = it->second;
    page.storedVersion = captured.version;
    Fate happens = fate(captured.number);
    if (happens == Fate::MISDIRECTED) {
      misdirect(captured.number, captured.bytes);
    }
    if (happens != Fate::STORED) {
      page.forgotten = page.version == captured.version;
    } else if (page.version == captured.version) {
      settle(captured.number, page);
    } else {
      *page.stored = captured.bytes;
      page.storedAllocated = captured.allocated;
    }
  }
  if (point.version >= storedSizeVersion_) {
    storedSize_ = point.size;
    storedSizeVersion_ = point.version;
  }
}

void SimContent::failSync(const SyncPoint& point) {
  for (const auto& captured : point.pages) {
    auto it = pages_.find(captured.number);
    if (it != pages_.end() && it->second.version == captured.version && it->second.stored != nullptr) {
      it->second.forgotten = true;
    }
  }
}

void SimContent::cutPage(uint64_t number, Page& page, Random& random, uint64_t newPerEight, bool truncateUndone) {
  bool anyNew = false;
  for (uint64_t at = 0; at < PAGE; at += SECTOR) {
    bool keepNew = !page.forgotten && random.below(8) < newPerEight;
    if (truncateUndone && number * PAGE + at >= size_) {
      keepNew = false;  // the size went back, so the blocks past it were never freed
    }
    if (keepNew) {
      anyNew = true;
    } else {
      memcpy(page.now.data() + at, page.stored->data() + at, SECTOR);
    }
  }
  setAllocated(page, anyNew ? page.allocated || page.storedAllocated : page.storedAllocated);
}

void SimContent::trimTo(uint64_t size) {
  for (auto it = pages_.lower_bound(size / PAGE); it != pages_.end();) {
    uint64_t keep = size > it->first * PAGE ? size - it->first * PAGE : 0;
    memset(it->second.now.data() + keep, 0, PAGE - keep);
    if (keep == 0) {
      setAllocated(it->second, false);
    }
    it = keep == 0 ? pages_.erase(it) : std::next(it);
  }
}

void SimContent::powerCut(Random& random) {
  // All old and all new are as likely as a mixture: bugs hide at both ends.
  constexpr uint64_t NEW_PER_EIGHT[] = {0, 8, 4, 4};
  uint64_t newPerEight = NEW_PER_EIGHT[random.below(4)];
  bool newSize = random.below(8) < newPerEight;
  uint64_t size = newSize ? size_ : storedSize_;
  bool truncateUndone = !newSize && storedSize_ > size_;
  std::set<uint64_t> dirty;
  dirty.swap(dirtyPages_);
  for (uint64_t number : dirty) {
    Page& page = pages_.at(number);
    cutPage(number, page, random, newPerEight, truncateUndone);
    page.storedVersion = version_;
    settle(number, page);
  }
  trimTo(size);
  size_ = storedSize_ = size;
  storedSizeVersion_ = ++version_;
}

void SimContent::dropCache() {
  std::set<uint64_t> dirty = dirtyPages_;
  for (uint64_t number : dirty) {
    Page& page = pages_.at(number);
    if (page.forgotten) {
      page.now = *page.stored;
      setAllocated(page, page.storedAllocated);
      settle(number, page);
    }
  }
}

bool SimContent::rot(uint64_t offset, unsigned bit) {
  auto it = pages_.find(offset / PAGE);
  if (it == pages_.end() || offset >= size_) {
    return false;
  }
  auto flipped = static_cast<kj::byte>(1u << (bit % 8));
  it->second.now[offset % PAGE] ^= flipped;
  if (it->second.stored != nullptr) {
    (*it->second.stored)[offset % PAGE] ^= flipped;
  }
  return true;
}

bool SimContent::rotStored(uint64_t offset, unsigned bit) {
  auto it = pages_.find(offset / PAGE);
  if (it == pages_.end() || offset >= size_ || it->second.stored != nullptr) {
    return false;
  }
  Page& page = it->second;
  page.stored = std::make_unique<Bytes>(page.now);
  page.storedAllocated = page.allocated;
  (*page.stored)[offset % PAGE] ^= static_cast<kj::byte>(1u << (bit % 8));
  page.forgotten = true;
  dirtyPages_.insert(it->first);
  return true;
}

std::vector<uint64_t> SimContent::pageNumbers() const {
  std::vector<uint64_t> numbers;
  for (const auto& [number, page] : pages_) {
    if (page.allocated) {
      numbers.push_back(number);
    }
  }
  return numbers;
}

}  // namespace cairn
