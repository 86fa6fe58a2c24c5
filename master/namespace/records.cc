#include "master/namespace/records.h"

#include <kj/debug.h>
#include <sys/stat.h>

#include <bit>
#include <cstring>
#include <type_traits>

namespace cairn {

namespace {

static_assert(std::endian::native == std::endian::little, "records are written as they lie in memory");

constexpr uint8_t LAYOUT_VERSION = 1;

// One list of fields serves both ways: `fields(record, coder)` calls coder(field) for each.
class Encoder {
 public:
  explicit Encoder(size_t room) {
    out_.reserve(room);
    out_.push_back(static_cast<char>(LAYOUT_VERSION));
  }
  template <typename T>
  void operator()(const T& field) {
    if constexpr (std::is_enum_v<T>) {
      (*this)(static_cast<std::underlying_type_t<T>>(field));
    } else {
      static_assert(std::is_arithmetic_v<T>);
      out_.append(reinterpret_cast<const char*>(&field), sizeof(field));
    }
  }
  void operator()(const std::string& field) {
    (*this)(static_cast<uint32_t>(field.size()));
    out_.append(field);
  }
  void operator()(const Timestamp& field) {
    (*this)(field.seconds);
    (*this)(field.nanos);
  }
  template <typename Tag>
  void operator()(const Uuid<Tag>& field) {
    (*this)(field.high);
    (*this)(field.low);
  }
  void operator()(const LayoutCut& field) {
    (*this)(field.generation);
    (*this)(field.firstDead);
    (*this)(field.queueId);
  }
  template <typename T>
  void operator()(const std::vector<T>& field) {
    (*this)(static_cast<uint32_t>(field.size()));
    for (const T& item : field) {
      (*this)(item);
    }
  }
  // A field that older records lack.
  template <typename T>
  void later(const T& field) {
    (*this)(field);
  }
  std::string finish() { return std::move(out_); }

 private:
  std::string out_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {
    uint8_t version = 0;
    (*this)(version);
    KJ_REQUIRE(version == LAYOUT_VERSION, "a record of the state has an unknown layout", version);
  }
  template <typename T>
  void operator()(T& field) {
    if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> number;
      (*this)(number);
      field = static_cast<T>(number);
    } else if constexpr (std::is_same_v<T, bool>) {
      uint8_t number = 0;
      (*this)(number);
      field = number != 0;
    } else {
      static_assert(std::is_arithmetic_v<T>);
      memcpy(&field, take(sizeof(field)).data(), sizeof(field));
    }
  }
  void operator()(std::string& field) {
    uint32_t size = 0;
    (*this)(size);
    field.assign(take(size));
  }
  void operator()(Timestamp& field) {
    (*this)(field.seconds);
    (*this)(field.nanos);
  }
  template <typename Tag>
  void operator()(Uuid<Tag>& field) {
    (*this)(field.high);
    (*this)(field.low);
  }
  void operator()(LayoutCut& field) {
    (*this)(field.generation);
    (*this)(field.firstDead);
    (*this)(field.queueId);
  }
  template <typename T>
  void operator()(std::vector<T>& field) {
    uint32_t size = 0;
    (*this)(size);
    KJ_REQUIRE(size <= in_.size(), "a record of the state is cut short");
    field.resize(size);
    for (T& item : field) {
      (*this)(item);
    }
  }
  template <typename T>
  void later(T& field) {
    if (!in_.empty()) {
      (*this)(field);
    }
  }
  void finish() { KJ_REQUIRE(in_.empty(), "a record of the state is too long", in_.size()); }

 private:
  std::string_view take(size_t size) {
    KJ_REQUIRE(size <= in_.size(), "a record of the state is cut short", size, in_.size());
    auto taken = in_.substr(0, size);
    in_.remove_prefix(size);
    return taken;
  }
  std::string_view in_;
};

template <typename Record, typename Coder>
void inodeFields(Record& r, Coder& code) {
  code(r.mode);
  code(r.uid);
  code(r.gid);
  code(r.links);
  code(r.device);
  code(r.size);
  code(r.allocated);
  code(r.accessed);
  code(r.modified);
  code(r.changed);
  code(r.created);
  code(r.xattrs);
  code(r.xattrNameBytes);
  code(r.madeAt);
  code(r.madeBy);
  code(r.cls);
  code(r.chunkBits);
  if (S_ISDIR(r.mode)) {
    code(r.parent);
    code(r.entries);
    code(r.nextCookie);
  } else if (S_ISREG(r.mode)) {
    code(r.object);
    code(r.generation);
    code(r.largestSize);
    code(r.cuts);
    code.later(r.movedFrom);
  } else if (S_ISLNK(r.mode)) {
    code(r.target);
  }
  code.later(r.accessAcl);
  code.later(r.defaultAcl);
  code.later(r.linkable);
  if (!S_ISDIR(r.mode)) {
    code.later(r.parent);
  }
  if (r.links == 0) {
    code.later(r.trashItem);
  }
}

template <typename Record, typename Coder>
void entryFields(Record& r, Coder& code) {
  code(r.inode);
  code(r.mode);
  code(r.cookie);
}

template <typename Record, typename Coder>
void positionFields(Record& r, Coder& code) {
  code(r.inode);
  code(r.mode);
  code(r.name);
}

template <typename Record, typename Coder>
void headFields(Record& r, Coder& code) {
  code(r.cluster);
  code(r.index);
  code(r.term);
  code(r.time);
  code(r.digest);
  code(r.map);
  code(r.nextInode);
  code(r.nextObject);
  code(r.nextSession);
  code(r.nextQueueId);
  code(r.inodes);
  code(r.allocated);
  code(r.generationBase);
  code.later(r.counted);
  code.later(r.trashItems);
  code.later(r.trashAllocated);
  code.later(r.looseTrees);
  code.later(r.quotas);
}

template <typename Record, typename Coder>
void termFields(Record& r, Coder& code) {
  code(r.index);
  code(r.drawn);
}

template <typename Record, typename Coder>
void sessionFields(Record& r, Coder& code) {
  code(r.name);
  code(r.opened);
  code(r.nonceHigh);
  code(r.nonceLow);
  code(r.leases);
}

template <typename Record, typename Coder>
void certificateFields(Record& r, Coder& code) {
  code(r.role);
  code(r.name);
  code(r.serial);
  code(r.begins);
  code(r.expires);
}

template <typename Record, typename Coder>
void joinSecretFields(Record& r, Coder& code) {
  code(r.digest);
  code(r.role);
  code(r.name);
  code(r.expires);
  code(r.usedBy);
}

template <typename Record, typename Coder>
void revocationFields(Record& r, Coder& code) {
  code(r.role);
  code(r.name);
  code(r.until);
}

template <typename Record, typename Coder>
void slotFields(Record& r, Coder& code) {
  code(r.sequence);
  code(r.reply);
}

template <typename Record, typename Coder>
void lockFields(Record& r, Coder& code) {
  code(r.type);
  code(r.last);
  code(r.pid);
}

template <typename Record, typename Coder>
void reclaimFields(Record& r, Coder& code) {
  code(r.object);
  code(r.cls);
  code(r.chunks);
  code.later(r.left);
}

template <typename Record, typename Coder>
void moveFields(Record& r, Coder& code) {
  code(r.from);
  code(r.to);
  code(r.cls);
  code(r.task);
}

template <typename Record, typename Coder>
void taskFields(Record& r, Coder& code) {
  code(r.root);
  code(r.cls);
  code(r.path);
  code(r.except);
  code(r.filesDone);
  code(r.bytesDone);
}

template <typename Record, typename Coder>
void auditFields(Record& r, Coder& code) {
  code(r.time);
  code(r.who);
  code(r.command);
  code(r.action);
  code(r.ended);
  code(r.errnum);
  code(r.why);
}

template <typename Record, typename Coder>
void accountFields(Record& r, Coder& code) {
  code(r.parent);
  code(r.name);
  code(r.bytes);
  code(r.allocated);
  code(r.files);
  code(r.directories);
  code(r.trashSeconds);
  code.later(r.bytesMax);
  code.later(r.filesMax);
  code.later(r.granted);
}

template <typename Record, typename Coder>
void trashFields(Record& r, Coder& code) {
  code(r.inode);
  code(r.parent);
  code(r.name);
  code(r.era);
  code(r.deletedSeconds);
  code(r.keepSeconds);
  code(r.mode);
  code(r.links);
  code(r.bytes);
  code(r.allocated);
  code(r.files);
}

template <typename Record, typename Coder>
void cutFields(Record& r, Coder& code) {
  code(r.inode);
  code(r.object);
  code(r.cls);
  code(r.chunkBits);
  code(r.generation);
  code(r.firstDead);
  code(r.chunks);
}

template <typename Record, typename Coder>
void classFields(Record& r, Coder& code) {
  code(r.id);
  code(r.copies);
  code(r.minCopies);
  code(r.shardBits);
  code.later(r.level);
}

template <typename Record, typename Coder>
void serverFields(Record& r, Coder& code) {
  code(r.id);
  code(r.name);
  code(r.incarnation);
  code(r.address);
  code(r.socket);
  code(r.hostId);
  code(r.state);
  code(r.online);
  code.later(r.maintenanceSeconds);
  code.later(r.untilBack);
  code.later(r.rack);
  code.later(r.zone);
}

template <typename Record, typename Coder>
void volumeFields(Record& r, Coder& code) {
  code(r.number);
  code(r.id);
  code(r.server);
  code(r.weight);
  code(r.usable);
}

template <typename Record, typename Coder>
void shardFields(Record& r, Coder& code) {
  code(r.id);
  code(r.epoch);
  code(r.primary);
  code(r.inSync);
  code(r.joining);
  code(r.target);
  code(r.changed);
}

template <typename Record>
std::string encodeAll(const Record& in, void (*fields)(const Record&, Encoder&), size_t room) {
  Encoder encoder(room);
  fields(in, encoder);
  return encoder.finish();
}

template <typename Record>
void decodeAll(std::string_view in, Record& out, void (*fields)(Record&, Decoder&)) {
  Decoder decoder(in);
  fields(out, decoder);
  decoder.finish();
}

}  // namespace

std::string encode(const InodeRecord& in) {
  return encodeAll<InodeRecord>(in, inodeFields, 192 + in.target.size() + in.cuts.size() * sizeof(LayoutCut));
}
std::string encode(const Entry& in) {
  return encodeAll<Entry>(in, entryFields, 32);
}
std::string encode(const Position& in) {
  return encodeAll<Position>(in, positionFields, 24 + in.name.size());
}
std::string encode(const Head& in) {
  return encodeAll<Head>(in, headFields, 160);
}
std::string encode(const Session& in) {
  return encodeAll<Session>(in, sessionFields, 64 + in.name.size());
}
std::string encode(const TermBegin& in) {
  return encodeAll<TermBegin>(in, termFields, 24);
}
std::string encode(const IssuedCertificate& in) {
  return encodeAll<IssuedCertificate>(in, certificateFields, 96);
}
std::string encode(const JoinSecret& in) {
  return encodeAll<JoinSecret>(in, joinSecretFields, 128);
}
std::string encode(const Revocation& in) {
  return encodeAll<Revocation>(in, revocationFields, 48);
}
std::string encode(const ReplySlot& in) {
  return encodeAll<ReplySlot>(in, slotFields, 16 + in.reply.size());
}
std::string encode(const LockRecord& in) {
  return encodeAll<LockRecord>(in, lockFields, 16);
}
std::string encode(const ReclaimItem& in) {
  return encodeAll<ReclaimItem>(in, reclaimFields, 24);
}
std::string encode(const CutItem& in) {
  return encodeAll<CutItem>(in, cutFields, 48);
}
std::string encode(const MoveItem& in) {
  return encodeAll<MoveItem>(in, moveFields, 32);
}
std::string encode(const MoveTask& in) {
  return encodeAll<MoveTask>(in, taskFields, 64 + in.path.size());
}
std::string encode(const Account& in) {
  return encodeAll<Account>(in, accountFields, 64 + in.name.size());
}
std::string encode(const TrashItem& in) {
  return encodeAll<TrashItem>(in, trashFields, 96 + in.name.size());
}
std::string encode(const AuditItem& in) {
  return encodeAll<AuditItem>(in, auditFields, 64 + in.who.size() + in.command.size() + in.action.size());
}
std::string encode(const Settings& in) {
  Encoder code(64);
  code(static_cast<uint32_t>(in.size()));
  for (const auto& [name, value] : in) {
    code(name);
    code(value);
  }
  return code.finish();
}
std::string encode(const ReplicationClass& in) {
  return encodeAll<ReplicationClass>(in, classFields, 8);
}
std::string encode(const ServerRecord& in) {
  return encodeAll<ServerRecord>(in, serverFields, 256);
}
std::string encode(const VolumeRecord& in) {
  return encodeAll<VolumeRecord>(in, volumeFields, 64);
}
std::string encode(const ShardRecord& in) {
  return encodeAll<ShardRecord>(in, shardFields, 96);
}

void decode(std::string_view in, InodeRecord& out) {
  decodeAll<InodeRecord>(in, out, inodeFields);
}
void decode(std::string_view in, Entry& out) {
  decodeAll<Entry>(in, out, entryFields);
}
void decode(std::string_view in, Position& out) {
  decodeAll<Position>(in, out, positionFields);
}
void decode(std::string_view in, Head& out) {
  decodeAll<Head>(in, out, headFields);
}
void decode(std::string_view in, Session& out) {
  decodeAll<Session>(in, out, sessionFields);
}
void decode(std::string_view in, TermBegin& out) {
  decodeAll<TermBegin>(in, out, termFields);
}
void decode(std::string_view in, IssuedCertificate& out) {
  decodeAll<IssuedCertificate>(in, out, certificateFields);
}
void decode(std::string_view in, JoinSecret& out) {
  decodeAll<JoinSecret>(in, out, joinSecretFields);
}
void decode(std::string_view in, Revocation& out) {
  decodeAll<Revocation>(in, out, revocationFields);
}
void decode(std::string_view in, ReplySlot& out) {
  decodeAll<ReplySlot>(in, out, slotFields);
}
void decode(std::string_view in, LockRecord& out) {
  decodeAll<LockRecord>(in, out, lockFields);
}
void decode(std::string_view in, ReclaimItem& out) {
  decodeAll<ReclaimItem>(in, out, reclaimFields);
}
void decode(std::string_view in, CutItem& out) {
  decodeAll<CutItem>(in, out, cutFields);
}
void decode(std::string_view in, MoveItem& out) {
  decodeAll<MoveItem>(in, out, moveFields);
}
void decode(std::string_view in, MoveTask& out) {
  decodeAll<MoveTask>(in, out, taskFields);
}
void decode(std::string_view in, Account& out) {
  decodeAll<Account>(in, out, accountFields);
}
void decode(std::string_view in, TrashItem& out) {
  decodeAll<TrashItem>(in, out, trashFields);
}
void decode(std::string_view in, AuditItem& out) {
  decodeAll<AuditItem>(in, out, auditFields);
}
void decode(std::string_view in, Settings& out) {
  Decoder code(in);
  uint32_t count = 0;
  code(count);
  for (uint32_t i = 0; i < count; ++i) {
    std::string name;
    code(name);
    code(out[name]);
  }
  code.finish();
}
void decode(std::string_view in, ReplicationClass& out) {
  decodeAll<ReplicationClass>(in, out, classFields);
}
void decode(std::string_view in, ServerRecord& out) {
  decodeAll<ServerRecord>(in, out, serverFields);
}
void decode(std::string_view in, VolumeRecord& out) {
  decodeAll<VolumeRecord>(in, out, volumeFields);
}
void decode(std::string_view in, ShardRecord& out) {
  decodeAll<ShardRecord>(in, out, shardFields);
}

std::string encodeNumber(uint64_t in) {
  Encoder encoder(9);
  encoder(in);
  return encoder.finish();
}

uint64_t decodeNumber(std::string_view in) {
  uint64_t number = 0;
  Decoder decoder(in);
  decoder(number);
  decoder.finish();
  return number;
}

}  // namespace cairn
