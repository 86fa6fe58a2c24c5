#include "common/ids.h"

#include <cstdio>

#include "common/checksum.h"

namespace cairn {

namespace {

constexpr size_t UUID_DIGITS = 32;

int digitValue(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::string uuidText(uint64_t high, uint64_t low) {
  std::string text(UUID_DIGITS, '0');
  for (size_t i = UUID_DIGITS; i-- > 0;) {
    uint64_t& half = i < UUID_DIGITS / 2 ? high : low;
    text[i] = "0123456789abcdef"[half & 15];
    half >>= 4;
  }
  return text;
}

bool parseUuid(const std::string& text, uint64_t& high, uint64_t& low) {
  if (text.size() != UUID_DIGITS) {
    return false;
  }
  uint64_t halves[2] = {0, 0};
  for (size_t i = 0; i < UUID_DIGITS; i++) {
    int digit = digitValue(text[i]);
    if (digit < 0) {
      return false;
    }
    uint64_t& half = halves[i / (UUID_DIGITS / 2)];
    half = half << 4 | static_cast<uint64_t>(digit);
  }
  high = halves[0];
  low = halves[1];
  return true;
}

namespace {

constexpr unsigned DRAWN_BITS = 32;
constexpr uint64_t DRAWN_MASK = (uint64_t{1} << DRAWN_BITS) - 1;

}  // namespace

std::string toText(GroupEpoch epoch) {
  if (epoch == GroupEpoch{}) {
    return "0";
  }
  char text[32];
  snprintf(text, sizeof(text), "%llu-%08llx", static_cast<unsigned long long>(raw(epoch) >> DRAWN_BITS),
           static_cast<unsigned long long>(raw(epoch) & DRAWN_MASK));
  return text;
}

bool parse(const std::string& text, GroupEpoch& epoch) {
  if (text == "0") {
    epoch = {};
    return true;
  }
  size_t dash = text.find('-');
  bool isFormed = dash != std::string::npos && dash > 0 && dash <= 9 && text.size() == dash + 1 + DRAWN_BITS / 4 &&
                  text.find_first_not_of("0123456789") == dash &&
                  text.find_first_not_of("0123456789abcdef", dash + 1) == std::string::npos;
  if (!isFormed) {
    return false;
  }
  epoch = GroupEpoch{std::stoull(text.substr(0, dash)) << DRAWN_BITS | std::stoull(text.substr(dash + 1), nullptr, 16)};
  return true;
}

GroupEpoch recoveredEpoch(GroupEpoch epoch, uint64_t drawn) {
  return GroupEpoch{((raw(epoch) >> DRAWN_BITS) + 1) << DRAWN_BITS | (drawn & DRAWN_MASK)};
}

ShardId shardOf(ClassId cls, uint8_t shardBits, ChunkId chunk) {
  if (shardBits == 0) {
    return makeShardId(cls, 0);
  }
  kj::byte key[12];  // little endian on every machine: the shard of a chunk is part of the format
  for (unsigned i = 0; i < 8; i++) {
    key[i] = static_cast<kj::byte>(raw(chunk.object) >> (8 * i));
  }
  for (unsigned i = 0; i < 4; i++) {
    key[8 + i] = static_cast<kj::byte>(chunk.index >> (8 * i));
  }
  return makeShardId(cls, static_cast<uint32_t>(hash64(kj::arrayPtr(key, sizeof(key))) >> (64 - shardBits)));
}

}  // namespace cairn
