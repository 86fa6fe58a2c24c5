// Mover: copies files into other replication classes, for tasks that administrators have set. It walks what is below a
// task's root, and takes each file through its steps:
//
//   begin      a fresh object is made for it, sealed so that only what copies writes there
//   passes     the new object's primaries make its chunks equal to the old one's, while users go on
//   seal       the old object's turn: from the map that says so no client changes or reads it
//   drain      every chunkserver has that map, and nothing that it had accepted is under way
//   survey     how many chunks there are, and a last pass
//   finish     one entry puts the new object in the old one's place
//
// Nothing rests on this object's memory: files on their way and tasks are in the state. The next leader begins with
// another pass, and with walks from the start, which pass over what is in its class already.
#pragma once
#include <kj/async.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "master/chunkservers.h"
#include "master/move_walk.h"
#include "master/placement/work_queue.h"
#include "master/replica.h"
#include "schema/master.capnp.h"

namespace cairn {

class Mover final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr size_t FILES_MAX = 64;         // on their way
  static constexpr size_t TASKS_MAX = 16;
  static constexpr size_t SEALED_MAX = 2048;      // the map carries them, and the queue of clean-up work holds them
  static constexpr size_t HAND_OUT_MAX = 256;     // in one reply
  static constexpr unsigned PASSES_MAX = 4;       // before it is sealed
  static constexpr Nanos SHORT_PASS = 2 * SECOND; // after one that took no longer it is sealed
  static constexpr Nanos SEAL_LIMIT = 10 * SECOND;
  static constexpr unsigned SEALS_MAX = 3;        // then it is passed over

  Mover(Clock& clock, Random& random, Replica& replica, const Chunkservers& chunkservers);
  ~Mover() noexcept(false);

  void handOut(ServerId server, wire::Work::Builder out);
  void done(ServerId server, MapVersion mapVersion, capnp::List<uint64_t>::Reader ids);
  // The server has restarted.
  void forget(ServerId server) { queue_.forget(server); }
  void tick();

  // EBUSY: there are as many tasks as there may be.
  Status mayBegin() const;
  // All below `path`, or the file, is to be of that class. The task's id.
  Task<Result<uint64_t>> begin(InodeId root, ClassId cls, std::string path);
  Task<Status> cancel(uint64_t task);
  struct Progress {
    MoveTask task;
    size_t waiting = 0;
    std::string why;  // what stops it now
  };
  std::vector<Progress> progress() const;

 private:
  enum class Step { COPY, SEAL, DRAIN, LAST, FINISH, UNSEAL, DROP };
  struct Move {
    MoveItem item;
    Step step = Step::COPY;
    uint64_t copy = 0;    // work under way; 0: none
    uint64_t survey = 0;
    uint32_t chunks = 0;    // that the pass under way covers
    uint32_t surveyed = 0;
    unsigned passes = 0;
    unsigned seals = 0;
    Nanos since = 0;      // of the pass, or of the seal
    MapVersion sealedAt{};
  };
  struct Walk {
    MoveWalk walk;
    bool found = false;      // anything in another class, this time
    Nanos notBefore = 0;
    std::set<InodeId> waiting;  // passed over
    std::string why;
  };

  const ShardMap& map() const { return replica_.reader().map(); }
  void adopt(const MoveItem& item);
  void follow();
  void look(Move& move);
  void startPass(Move& move);
  void startSurvey(Move& move);
  uint64_t newWork();
  void addWork(uint64_t id, ObjectId object, ClassId cls, uint32_t chunks);
  void endWork(Move& move);
  void workDone(uint64_t id);
  void noteWaiting(const Move& move, const std::string& why);
  std::string obstacle() const;
  Task<void> run();
  Task<bool> carryOn();
  Task<bool> propose(Step step);
  Task<bool> beginSome();
  Task<bool> endWalk(uint64_t id);
  std::vector<InodeId> at(Step step) const;
  void taskFailed(kj::Exception&& e) override;

  Clock& clock_;
  Random& random_;
  Replica& replica_;
  const Chunkservers& chunkservers_;
  WorkQueue queue_;
  uint64_t lastWork_ = 0;
  MapVersion drained_{};    // everywhere, as of the last tick
  std::string obstacle_;    // likewise: why nothing is begun or sealed
  std::map<InodeId, Move> moves_;
  std::map<uint64_t, InodeId> works_;      // whose
  std::map<uint64_t, uint32_t> results_;   // of surveys and failures, the highest that any server has told
  std::map<uint64_t, Walk> walks_;         // by task
  bool running_ = false;
  kj::TaskSet tasks_;
};

}  // namespace cairn
